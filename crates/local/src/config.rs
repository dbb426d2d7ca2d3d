//! The configuration table.

use crate::{Local, port_error};
use rusqlite::params;
use serde_json::Value;
use tasks::port::{ConfigTable, PortError};

impl ConfigTable for Local {
    async fn items(&self, identifier: &str) -> Result<Vec<Value>, PortError> {
        self.select(
            "SELECT item FROM config WHERE identifier = ?1 ORDER BY config",
            &[&identifier],
        )
    }
}

impl Local {
    /// All items of all identifiers, in order of identifier and `config`.
    pub fn config_items(&self) -> Result<Vec<Value>, PortError> {
        self.select("SELECT item FROM config ORDER BY identifier, config", &[])
    }

    /// The identifiers that have items, in order.
    pub fn config_identifiers(&self) -> Result<Vec<String>, PortError> {
        let database = self.database();
        let mut statement = database
            .prepare("SELECT DISTINCT identifier FROM config ORDER BY identifier")
            .map_err(port_error)?;
        statement
            .query_map([], |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(port_error)
    }

    /// Puts these items in the place of all items of an identifier, at once. Each is an object with the text `config`.
    pub fn replace_config(&self, identifier: &str, items: &[Value]) -> Result<(), PortError> {
        let mut database = self.database();
        let transaction = database.transaction().map_err(port_error)?;
        transaction
            .execute("DELETE FROM config WHERE identifier = ?1", [identifier])
            .map_err(port_error)?;
        for item in items {
            let Some(config) = item.get("config").and_then(Value::as_str) else {
                return Err(PortError::Refused {
                    service: "configuration table",
                    message: format!("an item of `{identifier}` has no `config`"),
                });
            };
            transaction
                .execute(
                    "INSERT INTO config (identifier, config, item) VALUES (?1, ?2, ?3)",
                    params![identifier, config, item.to_string()],
                )
                .map_err(port_error)?;
        }
        transaction.commit().map_err(port_error)
    }

    fn select(
        &self,
        query: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<Value>, PortError> {
        let database = self.database();
        let mut statement = database.prepare_cached(query).map_err(port_error)?;
        let texts: Vec<String> = statement
            .query_map(values, |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(port_error)?;
        texts
            .iter()
            .map(|text| {
                serde_json::from_str(text).map_err(|error| PortError::Refused {
                    service: "configuration table",
                    message: format!("an item is not JSON: {error}"),
                })
            })
            .collect()
    }
}
