//! The configuration file: TOML whose keys are the long options of `unbusy proxy`.
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::ProxyArgs;
use super::error::UsageError;

/// How alike two names must be, from 0 to 1, for the one to be proposed instead of the other.
const NEAR: f64 = 0.8;

#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    table: Table,
}

impl ConfigFile {
    pub(crate) fn read(path: PathBuf, text: &str) -> Result<Self, UsageError> {
        let table = text.parse::<Table>().map_err(|error| syntax_error(&path, text, &error))?;
        check_keys(&path, &table)?;
        Ok(Self { path, table })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The values of a key as the text that one would write on the command line.
    pub(crate) fn values(&self, key: &str) -> Result<Option<Vec<String>>, UsageError> {
        let values = match self.table.get(key) {
            None => return Ok(None),
            Some(Value::Array(items)) if items.is_empty() => return Err(self.empty_list(key)),
            Some(Value::Array(items)) => items.iter().map(text).collect(),
            Some(value) => text(value).map(|text| vec![text]),
        };
        values.map(Some).ok_or_else(|| {
            let path = self.path.display();
            UsageError::new(format!(
                "{key} in {path}: must be a string, a number, true or false, or a list of these"
            ))
        })
    }

    fn empty_list(&self, key: &str) -> UsageError {
        let example = match key {
            "hold" => r#"hold = ["busy", "loading"] (max-wait = "0" holds nothing)"#.to_owned(),
            "listen" => r#"listen = ["127.0.0.1:6380"]"#.to_owned(),
            key => format!("{key} = \"…\""),
        };
        let path = self.path.display();
        UsageError::new(format!(
            "{key} = [] in {path}: names nothing; leave it out, or write it like {example}"
        ))
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

// Without the excerpt that the TOML reader offers: the line may hold a password.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> UsageError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    UsageError::new(format!("{} line {line}: {}", path.display(), error.message()))
}

fn check_keys(path: &Path, table: &Table) -> Result<(), UsageError> {
    let known = known_keys();
    match table.keys().find(|key| !known.contains(key)) {
        None => Ok(()),
        Some(key) => Err(unknown_key(path, key, &known)),
    }
}

/// Every long option of the proxy, so that the file can never lag behind the command line.
fn known_keys() -> Vec<String> {
    let command = <ProxyArgs as clap::Args>::augment_args(clap::Command::new("proxy"));
    command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|&name| name != "config")
        .map(Into::into)
        .collect()
}

fn unknown_key(path: &Path, key: &str, known: &[String]) -> UsageError {
    let likeness = |name: &&str| strsim::jaro_winkler(key, name);
    let mut near: Vec<_> = known.iter().map(String::as_str).filter(|name| likeness(name) >= NEAR).collect();
    near.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    near.truncate(3);
    let hint = if near.is_empty() {
        format!("the keys are {}", known.join(", "))
    } else {
        format!("did you mean {}?", near.join(" or "))
    };
    UsageError::new(format!("unknown key {key:?} in {}; {hint}", path.display()))
}
