//! `trx_seq` of each change: a function of the stream and of the number at which it is taken up again, so that what is
//! delivered twice has the same number twice.

use pipeline::seq::{CHANGE_SEQ_DIGITS, ChangeSeq};
use pipeline::time::Timestamp;

/// Digits of the moment in a number.
const MOMENT_DIGITS: usize = 16;

/// Gives numbers in the order of the stream.
pub struct Numbers {
    /// The commit time of the present transaction, or that of an earlier one when that is later: numbers never go back.
    moment: Timestamp,
    counter: u64,
    text: [u8; CHANGE_SEQ_DIGITS],
}

impl Numbers {
    /// Numbers that follow this one.
    pub fn after(last: &ChangeSeq) -> Self {
        let mut text = [0; CHANGE_SEQ_DIGITS];
        text.copy_from_slice(last.as_str().as_bytes());
        Self {
            moment: last.timestamp(),
            // Its form was checked when it was made, and 19 digits fit.
            counter: last.as_str()[MOMENT_DIGITS..].parse().unwrap_or(0),
            text,
        }
    }

    /// A transaction begins.
    pub fn begin(&mut self, committed: Timestamp) {
        if committed > self.moment {
            self.moment = committed;
            let first = ChangeSeq::new(committed, 0);
            self.text[..MOMENT_DIGITS].copy_from_slice(&first.as_str().as_bytes()[..MOMENT_DIGITS]);
        }
    }

    /// The next number, as its digits.
    pub fn next(&mut self) -> &[u8; CHANGE_SEQ_DIGITS] {
        self.counter += 1;
        let mut rest = self.counter;
        for digit in self.text[MOMENT_DIGITS..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.text
    }

    /// No change of the present transaction or an earlier one is later than this.
    pub fn moment(&self) -> Timestamp {
        self.moment
    }

    /// The number that was given last.
    pub fn last(&self) -> ChangeSeq {
        ChangeSeq::new(self.moment, self.counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_though_the_clock_goes_back_and_go_on_where_they_were_left() {
        let noon = Timestamp(1_767_225_600_000);
        let mut numbers = Numbers::after(&ChangeSeq::new(Timestamp(0), 0));
        let mut given = Vec::new();
        for committed in [
            noon,
            noon.plus_seconds(5),
            noon.plus_seconds(-5),
            noon.plus_seconds(6),
        ] {
            numbers.begin(committed);
            given.extend((0..2).map(|_| *numbers.next()));
            assert_eq!(
                numbers.last().as_str().as_bytes(),
                given.last().expect("one was given")
            );
        }
        assert!(given.is_sorted());
        given.dedup();
        assert_eq!(given.len(), 8);

        let mut again = Numbers::after(&ChangeSeq::new(noon.plus_seconds(5), 4));
        again.begin(noon.plus_seconds(-5));
        assert_eq!(again.next(), &given[4]);
    }
}
