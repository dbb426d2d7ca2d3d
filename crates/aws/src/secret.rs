//! Secrets Manager: the value of a secret, which is shown to nobody.

use crate::Aws;
use crate::error::{missing, port_error};
use std::fmt;
use tasks::port::PortError;

const SERVICE: &str = "Secrets Manager";

/// The text of a secret. Neither `Debug` nor any error has it.
pub struct SecretText(String);

impl SecretText {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl Aws {
    /// The present text of a secret, by its name or ARN.
    pub async fn secret(&self, name: &str) -> Result<SecretText, PortError> {
        let answer = self
            .secrets_manager()
            .get_secret_value()
            .secret_id(name)
            .send()
            .await
            .map_err(|error| port_error(SERVICE, error))?;
        answer
            .secret_string
            .map(SecretText)
            .ok_or_else(|| missing(SERVICE, "SecretString"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_to_nobody() {
        let secret = SecretText("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "SecretText(..)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
