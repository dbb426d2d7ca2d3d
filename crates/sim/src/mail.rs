//! SNS in memory: what was published, and what it refuses.

use crate::world::World;
use pipeline::metric::Metric;
use tasks::limits;
use tasks::port::{Mail, Mailer, Metrics, PortError};

impl Mailer for World {
    async fn send(&self, mail: &Mail) -> Result<(), PortError> {
        self.faulty("SNS", "mail.send", "", || {
            limits::check_mail("SNS", mail)?;
            self.mails.borrow_mut().push(mail.clone());
            self.note(|| format!("mail {} {}", mail.id, mail.subject));
            Ok(())
        })
    }

    async fn confirmed(&self) -> Result<u32, PortError> {
        self.faulty("SNS", "mail.confirmed", "", || Ok(1))
    }
}

impl Metrics for World {
    fn record(&self, metrics: &[Metric]) {
        self.metrics.borrow_mut().extend_from_slice(metrics);
    }
}
