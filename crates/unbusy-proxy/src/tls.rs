//! TLS towards clients and towards the server, from PEM files.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::StartError;
use crate::config::{ListenerTls, UpstreamTls};

/// A file, and the setting that names it.
#[derive(Clone, Copy)]
struct PemFile<'a> {
    setting: &'static str,
    path: &'a Path,
}

impl PemFile<'_> {
    fn bad(self, reason: impl Into<String>) -> StartError {
        StartError::TlsFile { setting: self.setting, path: self.path.to_owned(), reason: reason.into() }
    }
}

pub(crate) fn acceptor(settings: &ListenerTls) -> Result<TlsAcceptor, StartError> {
    let builder = ServerConfig::builder();
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let file = PemFile { setting: "tls-client-ca", path };
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots(file)?)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| file.bad(error.to_string()))?)
        }
    };
    let cert = PemFile { setting: "tls-cert", path: &settings.cert };
    let key = PemFile { setting: "tls-key", path: &settings.key };
    let config = builder.with_single_cert(certificates(cert)?, private_key(key)?);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| unfit(cert, key, error))?)))
}

pub(crate) fn connector(
    settings: &UpstreamTls,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), StartError> {
    let roots = match &settings.ca {
        Some(path) => roots(PemFile { setting: "upstream-ca", path })?,
        None => system_roots(),
    };
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match &settings.client_cert {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = PemFile { setting: "upstream-cert", path: cert };
            let key = PemFile { setting: "upstream-key", path: key };
            builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| unfit(cert, key, error))?
        }
    };
    let name = settings.server_name.as_deref().unwrap_or(host).to_owned();
    let server_name = ServerName::try_from(name.clone());
    let server_name =
        server_name.map_err(|error| StartError::ServerName { name, reason: error.to_string() })?;
    Ok((TlsConnector::from(Arc::new(config)), server_name))
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Some of the system's certificates may be unreadable; the others still serve.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn roots(file: PemFile<'_>) -> Result<RootCertStore, StartError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| file.bad(format!("a certificate in it cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn certificates(file: PemFile<'_>) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let found = CertificateDer::pem_file_iter(file.path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found =
        found.and_then(|found| if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) });
    found.map_err(|error| file.bad(unreadable(&error, "no certificate in it")))
}

fn private_key(file: PemFile<'_>) -> Result<PrivateKeyDer<'static>, StartError> {
    let found = PrivateKeyDer::from_pem_file(file.path);
    found.map_err(|error| file.bad(unreadable(&error, "no private key in it, or only one with a password")))
}

fn unreadable(error: &pem::Error, nothing: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => nothing.to_owned(),
        pem::Error::MissingSectionEnd { .. } => "its end is missing".to_owned(),
        _ => "not PEM text".to_owned(),
    }
}

/// Why a certificate and a key do not do together.
fn unfit(cert: PemFile<'_>, key: PemFile<'_>, error: rustls::Error) -> StartError {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            cert.bad(format!("its certificate does not belong to the key in {}", key.path.display()))
        }
        rustls::Error::InvalidCertificate(_) => cert.bad(error.to_string()),
        rustls::Error::General(reason) => key.bad(reason),
        _ => key.bad(error.to_string()),
    }
}
