//! Mail through SNS: one topic, which people subscribe to.

use crate::Aws;
use crate::error::{missing, needed, port_error};
use tasks::limits;
use tasks::port::{Mail, Mailer, PortError};

const SERVICE: &str = "SNS";

impl Mailer for Aws {
    async fn send(&self, mail: &Mail) -> Result<(), PortError> {
        limits::check_mail(SERVICE, mail)?;
        self.sns()
            .publish()
            .topic_arn(self.topic()?)
            .subject(&mail.subject)
            .message(message(mail))
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        Ok(())
    }

    async fn confirmed(&self) -> Result<u32, PortError> {
        let answer = self
            .sns()
            .get_topic_attributes()
            .topic_arn(self.topic()?)
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        const NAME: &str = "SubscriptionsConfirmed";
        let count = answer
            .attributes()
            .and_then(|attributes| attributes.get(NAME));
        count
            .and_then(|count| count.parse().ok())
            .ok_or_else(|| missing(SERVICE, NAME))
    }
}

impl Aws {
    fn topic(&self) -> Result<&str, PortError> {
        needed(SERVICE, "HEADWATER_TOPIC", &self.resources().topic)
    }
}

/// The body, and the mail's id as its last line: a mail that comes twice shows that it is the same.
fn message(mail: &Mail) -> String {
    format!("{}\n\nmail: {}\n", mail.body.trim_end(), mail.id)
}
