//! Mail as `.eml` files, which any mail program opens, and a line on the terminal.

use crate::{Local, objects};
use mail_builder::MessageBuilder;
use pipeline::metric::Metric;
use pipeline::path::segment;
use tasks::limits;
use tasks::port::{Clock, Mail, Mailer, Metrics, PortError};

const SENDER: &str = "headwater@localhost";
const RECIPIENT: &str = "ops@localhost";

impl Mailer for Local {
    async fn send(&self, mail: &Mail) -> Result<(), PortError> {
        limits::check_mail("mail", mail)?;
        let bytes =
            message(mail, self.now().0.div_euclid(1000)).map_err(|error| PortError::Unknown {
                service: "mail",
                message: error.to_string(),
            })?;
        let path = self
            .home()
            .mail()
            .join(format!("{}.eml", segment(&mail.id)));
        objects::put_file(&path, &bytes).map_err(|error| PortError::Unknown {
            service: "mail",
            message: format!("`{}`: {error}", path.display()),
        })?;
        (self.talk)(&format!("mail: {} ({})", mail.subject, path.display()));
        Ok(())
    }

    /// Files ask nobody.
    async fn confirmed(&self) -> Result<u32, PortError> {
        Ok(1)
    }
}

/// On one machine `headwater show` tells the numbers of a run; nobody watches them.
impl Metrics for Local {
    fn record(&self, _metrics: &[Metric]) {}
}

/// An RFC 5322 message. The same mail has the same Message-ID, so that a mail program shows it once.
fn message(mail: &Mail, seconds: i64) -> std::io::Result<Vec<u8>> {
    MessageBuilder::new()
        .from(("Headwater", SENDER))
        .to(RECIPIENT)
        .date(seconds)
        .message_id(format!("{}@headwater.local", identifier(&mail.id)))
        .subject(mail.subject.as_str())
        .text_body(mail.body.as_str())
        .write_to_vec()
}

/// Characters that a Message-ID may have without quotes.
fn identifier(id: &str) -> String {
    id.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect()
}
