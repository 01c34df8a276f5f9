//! What keeps a proxy from starting, told by the setting that is wrong: where it was written, its value, a right example.
use std::collections::HashMap;

use unbusy_proxy::StartError;

use super::sources::Origin;

/// Where those settings were written that were written anywhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(HashMap<&'static str, Origin>);

impl Origins {
    pub(crate) fn note(&mut self, name: &'static str, origin: &Origin) {
        self.0.insert(name, origin.clone());
    }

    /// Whether a setting was written anywhere.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The same error, as a mistake in a setting if it is one.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let error = match error.downcast::<StartError>() {
            Ok(error) => error,
            Err(other) => return other,
        };
        let (setting, value, problem) = match &error {
            StartError::Remote { address } => (
                "listen",
                address.to_string(),
                "it is reachable from other machines, and the server would take all its clients for local ones; add \
                 --allow-remote if that is wanted, or write it like 127.0.0.1:6380"
                    .to_owned(),
            ),
            StartError::RemoteAdmin { address } => (
                "admin",
                address.to_string(),
                "what it tells could be read from other machines, without a password; add --allow-remote if that is \
                 wanted, or write it like 127.0.0.1:9380"
                    .to_owned(),
            ),
            StartError::Itself { upstream, listen } => (
                "upstream",
                upstream.to_string(),
                format!(
                    "that is this proxy itself, which listens on {listen}; name the server, like \
                     redis://127.0.0.1:6379, or listen elsewhere, like --listen 127.0.0.1:6380"
                ),
            ),
            StartError::TlsFile { setting, path, reason } => (
                *setting,
                path.display().to_string(),
                format!("{reason}; name a PEM file, like /etc/unbusy/{setting}.pem"),
            ),
            StartError::ServerName { name, .. } if self.has("upstream-sni") => (
                "upstream-sni",
                name.clone(),
                "no certificate can have this name; write it like redis.example.com".to_owned(),
            ),
            StartError::ServerName { name, .. } => (
                "upstream",
                name.clone(),
                "no certificate can have its host's name; tell the right one like --upstream-sni redis.example.com"
                    .to_owned(),
            ),
            _ => return error.into(),
        };
        let origin = self.0.get(setting).cloned().unwrap_or(Origin::Flag(setting));
        origin.wrong(&value, &problem).into()
    }
}
