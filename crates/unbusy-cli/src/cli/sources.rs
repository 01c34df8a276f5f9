//! Where a setting comes from: the command line, else the environment, else the configuration file.
//!
//! All three give text, and one parser per setting reads it, so that a value means the same and a mistake reads the
//! same wherever it was written.
use std::cell::RefCell;
use std::env::VarError;
use std::path::PathBuf;

use super::error::UsageError;
use super::file::ConfigFile;
use super::origins::Origins;
use super::parse::{self, Parsed};

/// The places that settings are looked up in. The command line's values come with each question.
#[derive(Debug)]
pub(crate) struct Sources {
    file: Option<ConfigFile>,
    found: RefCell<Origins>,
}

/// Where a value was written, for messages.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Flag(&'static str),
    /// A word without dashes, by its name in the usage.
    Argument(&'static str),
    Variable(String),
    File {
        key: &'static str,
        path: PathBuf,
    },
}

/// A setting, and its value on the command line.
pub(crate) type Named<'a> = (&'static str, Option<&'a String>);

#[derive(Debug)]
struct Given {
    origin: Origin,
    values: Vec<String>,
}

impl Sources {
    /// Reads the configuration file, if `--config` or its variable names one.
    pub(crate) fn open(config: Option<&String>) -> Result<Self, UsageError> {
        let without_file = Self { file: None, found: RefCell::default() };
        let Some(path) = without_file.one("config", config, parse::path)? else { return Ok(without_file) };
        let Some(origin) = without_file.origin("config", config)? else { return Ok(without_file) };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let problem = format!("cannot be read: {error}; write it like /etc/unbusy/unbusy.toml");
            origin.wrong(&path.display().to_string(), &problem)
        })?;
        Ok(Self { file: Some(ConfigFile::read(path, &text)?), ..without_file })
    }

    /// A setting with one value.
    pub(crate) fn one<T>(
        &self,
        name: &'static str,
        flag: Option<&String>,
        parse: fn(&str) -> Parsed<T>,
    ) -> Result<Option<T>, UsageError> {
        let Some(given) = self.find(name, flag)? else { return Ok(None) };
        match &given.values[..] {
            [value] => given.origin.parse(value, parse).map(Some),
            values => Err(given.origin.wrong(&values.join(","), "takes one value, not a list")),
        }
    }

    /// A setting with a list of values, which commas separate; a flag or a list in the file may hold several, too.
    pub(crate) fn many<'a, T>(
        &self,
        name: &'static str,
        flags: impl IntoIterator<Item = &'a String>,
        parse: fn(&str) -> Parsed<T>,
    ) -> Result<Option<Vec<T>>, UsageError> {
        let Some(given) = self.find(name, flags)? else { return Ok(None) };
        let values = given.values.iter().flat_map(|value| value.split(','));
        values.map(|value| given.origin.parse(value.trim(), parse)).collect::<Result<_, _>>().map(Some)
    }

    /// Two settings that are nothing without each other.
    pub(crate) fn both<T>(
        &self,
        (first, first_flag): Named<'_>,
        (second, second_flag): Named<'_>,
        parse: fn(&str) -> Parsed<T>,
    ) -> Result<Option<(T, T)>, UsageError> {
        match (self.one(first, first_flag, parse)?, self.one(second, second_flag, parse)?) {
            (Some(first), Some(second)) => Ok(Some((first, second))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.lacking((first, first_flag), &[second])),
            (None, Some(_)) => Err(self.lacking((second, second_flag), &[first])),
        }
    }

    /// The mistake of a setting that was written without others that it needs.
    pub(crate) fn lacking(&self, (name, flag): Named<'_>, needed: &[&str]) -> UsageError {
        let given = match self.find(name, flag) {
            Ok(Some(given)) => given,
            Ok(None) => return UsageError::new(format!("{name} is not given")),
            Err(error) => return error,
        };
        let examples: Vec<_> = needed.iter().map(|name| given.origin.example(name)).collect();
        let problem =
            format!("needs {}, too; write it like {}", needed.join(" and "), examples.join(" and "));
        given.origin.wrong(&given.values.join(","), &problem)
    }

    /// Where a setting was written, if it was.
    pub(crate) fn origin(
        &self,
        name: &'static str,
        flag: Option<&String>,
    ) -> Result<Option<Origin>, UsageError> {
        Ok(self.find(name, flag)?.map(|given| given.origin))
    }

    /// The file, by the name that it has from everywhere.
    pub(crate) fn file(&self) -> Option<String> {
        let path = self.file.as_ref()?.path().canonicalize().ok()?;
        Some(path.display().to_string())
    }

    /// Whether the file says something about a setting, whether it counts or not.
    pub(crate) fn file_has(&self, name: &str) -> Result<bool, UsageError> {
        self.file.as_ref().map_or(Ok(false), |file| Ok(file.values(name)?.is_some()))
    }

    /// Where the settings were written that were looked up so far.
    pub(crate) fn origins(&self) -> Origins {
        self.found.borrow().clone()
    }

    fn find<'a>(
        &self,
        name: &'static str,
        flags: impl IntoIterator<Item = &'a String>,
    ) -> Result<Option<Given>, UsageError> {
        let given = self.look_up(name, flags.into_iter().cloned().collect())?;
        if let Some(given) = &given {
            self.found.borrow_mut().note(name, &given.origin);
        }
        Ok(given)
    }

    fn look_up(&self, name: &'static str, flags: Vec<String>) -> Result<Option<Given>, UsageError> {
        if !flags.is_empty() {
            return Ok(Some(Given { origin: Origin::Flag(name), values: flags }));
        }
        let variable = variable_name(name);
        if let Some(value) = variable_text(&variable)? {
            return Ok(Some(Given { origin: Origin::Variable(variable), values: vec![value] }));
        }
        let Some(file) = &self.file else { return Ok(None) };
        let origin = Origin::File { key: name, path: file.path().to_path_buf() };
        Ok(file.values(name)?.map(|values| Given { origin, values }))
    }
}

impl Origin {
    /// Reads one value that was written here.
    pub(crate) fn parse<T>(&self, value: &str, parse: fn(&str) -> Parsed<T>) -> Result<T, UsageError> {
        parse(value).map_err(|problem| self.wrong(value, &problem))
    }

    /// How a PEM file would be named in the same place.
    fn example(&self, name: &str) -> String {
        let value = match name {
            "kill-after" => "30s".to_owned(),
            "hold" => "busy".to_owned(),
            file => format!("/etc/unbusy/{file}.pem"),
        };
        match self {
            Self::Flag(_) | Self::Argument(_) => format!("--{name} {value}"),
            Self::Variable(_) => format!("{}={value}", variable_name(name)),
            Self::File { .. } => format!("{name} = {value:?}"),
        }
    }

    pub(crate) fn wrong(&self, value: &str, problem: &str) -> UsageError {
        let value = parse::without_secrets(value);
        UsageError::new(match self {
            Self::Flag(_) | Self::Argument(_) | Self::Variable(_) => format!("{self} {value:?}: {problem}"),
            Self::File { key, path } => format!("{key} = {value:?} in {}: {problem}", path.display()),
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Argument(name) => f.write_str(name),
            Self::Variable(name) => f.write_str(name),
            Self::File { key, path } => write!(f, "{key} in {}", path.display()),
        }
    }
}

/// The environment variable of an option: `max-wait` is `UNBUSY_MAX_WAIT`.
pub(crate) fn variable_name(name: &str) -> String {
    format!("UNBUSY_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// The text of a variable. Empty counts as not set: compose files and CI systems cannot unset one.
pub(crate) fn variable_text(name: &str) -> Result<Option<String>, UsageError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(UsageError::new(format!("{name}: its value is not UTF-8 text"))),
    }
}
