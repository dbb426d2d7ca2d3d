//! SNS in memory: what was published, and what it refuses.

use crate::world::World;
use pipeline::notice::SUBJECT_CHARACTERS_MAX;
use tasks::port::{Mail, Mailer, PortError};

impl Mailer for World {
    async fn send(&self, mail: &Mail) -> Result<(), PortError> {
        self.faulty("SNS", "mail.send", || {
            if mail.subject.is_empty()
                || mail.subject.len() > SUBJECT_CHARACTERS_MAX
                || mail
                    .subject
                    .chars()
                    .any(|c| c.is_control() || !c.is_ascii())
            {
                let message = format!("InvalidParameter: Subject: {}", mail.subject);
                return Err(PortError::Refused {
                    service: "SNS",
                    message,
                });
            }
            self.mails.borrow_mut().push(mail.clone());
            self.note(|| format!("mail {} {}", mail.id, mail.subject));
            Ok(())
        })
    }
}
