//! TLS towards clients and towards the server, from PEM files.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::StartError;
use crate::config::{ListenerTls, UpstreamTls};

pub(crate) fn acceptor(settings: &ListenerTls) -> Result<TlsAcceptor, StartError> {
    let builder = ServerConfig::builder();
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots(path)?)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad(path, &error))?)
        }
    };
    let config = builder.with_single_cert(certificates(&settings.cert)?, key(&settings.key)?);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| bad(&settings.cert, &error))?)))
}

pub(crate) fn connector(
    settings: &UpstreamTls,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), StartError> {
    let roots = match &settings.ca {
        Some(path) => roots(path)?,
        None => system_roots(),
    };
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match &settings.client_cert {
        None => builder.with_no_client_auth(),
        Some((cert, key_path)) => builder
            .with_client_auth_cert(certificates(cert)?, key(key_path)?)
            .map_err(|error| bad(cert, &error))?,
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

fn roots(path: &Path) -> Result<RootCertStore, StartError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| bad(path, &error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certificates {
        Ok(found) if found.is_empty() => Err(bad(path, &"no certificate in it")),
        found => found.map_err(|error| bad(path, &error)),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, StartError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| bad(path, &error))
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> StartError {
    StartError::TlsFile { path: path.to_owned(), reason: reason.to_string() }
}
