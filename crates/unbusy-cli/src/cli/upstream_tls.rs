//! The options for TLS to the server.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use unbusy_proxy::UpstreamTls;

use super::error::UsageError;
use super::parse;
use super::sources::{Origin, Sources};
use super::url::ServerUrl;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "the fields are named as the options")]
pub(crate) struct UpstreamTlsArgs {
    /// PEM file of the authorities that may sign the server's certificate [default: the system's]
    #[arg(long, value_name = "FILE", help_heading = "TLS to the server (rediss://)")]
    upstream_ca: Option<String>,

    /// Name to expect in the server's certificate [default: the host]
    #[arg(long, value_name = "NAME", help_heading = "TLS to the server (rediss://)")]
    upstream_sni: Option<String>,

    /// PEM file of the certificate to show to the server
    #[arg(long, value_name = "FILE", help_heading = "TLS to the server (rediss://)")]
    upstream_cert: Option<String>,

    /// PEM file of that certificate's private key
    #[arg(long, value_name = "FILE", help_heading = "TLS to the server (rediss://)")]
    upstream_key: Option<String>,
}

/// What TLS settings in the environment or the file are if the server has no TLS. An option is a mistake then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrayTls {
    Mistake,
    /// They can be those of an `unbusy proxy` with the same environment and file.
    Ignored,
}

impl UpstreamTlsArgs {
    /// What TLS to this server is to be like.
    pub(crate) fn settings(
        &self,
        from: &Sources,
        server: &ServerUrl,
        stray: StrayTls,
    ) -> Result<UpstreamTls, UsageError> {
        if !server.tls {
            self.refuse(from, server, stray)?;
            return Ok(UpstreamTls::default());
        }
        let cert = ("upstream-cert", self.upstream_cert.as_ref());
        let key = ("upstream-key", self.upstream_key.as_ref());
        Ok(UpstreamTls {
            ca: from.one("upstream-ca", self.upstream_ca.as_ref(), parse::path)?,
            server_name: from.one("upstream-sni", self.upstream_sni.as_ref(), parse::server_name)?,
            client_cert: from.both(cert, key, parse::path)?,
        })
    }

    fn refuse(&self, from: &Sources, server: &ServerUrl, stray: StrayTls) -> Result<(), UsageError> {
        let options = [
            ("upstream-ca", &self.upstream_ca),
            ("upstream-sni", &self.upstream_sni),
            ("upstream-cert", &self.upstream_cert),
            ("upstream-key", &self.upstream_key),
        ];
        for (name, flag) in options {
            match from.origin(name, flag.as_ref())? {
                None => {}
                Some(Origin::Variable(_) | Origin::File { .. }) if stray == StrayTls::Ignored => {}
                Some(origin) => {
                    return Err(UsageError::new(format!(
                        "{origin} is for TLS, but the server is {server}; \
                         write the upstream like rediss://host:6380"
                    )));
                }
            }
        }
        Ok(())
    }
}
