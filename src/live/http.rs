//! Fetching JSON: before a deadline, bounded, without redirects, with credentials from files.
//!
//! Every way to fail is a [`Fault`] of its own kind. No text holds a secret: user and password of a
//! URL are taken out of it before anything is shown.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, Identity, StatusCode, Url, redirect};
use tokio::time::Instant;

use super::fault::{Fault, FaultKind, FaultSource};
use super::signal_config::PrometheusConfig;
use crate::cli::VERSION;

/// How much of an error page is quoted, characters.
const QUOTED: usize = 200;

/// A server that answers in JSON.
pub struct Server {
    source: FaultSource,
    /// With user and password, if it has any.
    base: Url,
    /// Without them.
    shown: String,
    max_body_bytes: usize,
    files: Files,
    built: Mutex<Option<Built>>,
}

/// Files with secrets and certificates; an empty path is none.
#[derive(Clone, Debug, Default)]
struct Files {
    bearer_token: PathBuf,
    basic_auth: PathBuf,
    ca: PathBuf,
    client_cert: PathBuf,
    client_key: PathBuf,
}

/// The client that was built last, and the certificates that it was built of.
struct Built {
    certificates: [Vec<u8>; 3],
    client: Client,
}

/// A client with the credentials of this moment.
#[derive(Clone)]
pub struct Session {
    client: Client,
    authorization: Authorization,
}

/// What a request shows beside what the URL holds.
#[derive(Clone)]
enum Authorization {
    None,
    Bearer(HeaderValue),
    Basic(String, String),
}

/// Without the password that the URL may hold.
impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("url", &self.shown).finish_non_exhaustive()
    }
}

/// Without its credentials.
impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Server {
    /// The server of `[prometheus]`.
    ///
    /// # Errors
    /// What is wrong with its URL.
    pub fn prometheus(config: &PrometheusConfig) -> Result<Self, String> {
        let files = Files {
            bearer_token: config.bearer_token_file.clone(),
            basic_auth: config.basic_auth_file.clone(),
            ca: config.ca_file.clone(),
            client_cert: config.client_cert_file.clone(),
            client_key: config.client_key_file.clone(),
        };
        if files.client_cert.as_os_str().is_empty() != files.client_key.as_os_str().is_empty() {
            return Err("client_cert_file and client_key_file belong together".to_owned());
        }
        if !files.bearer_token.as_os_str().is_empty() && !files.basic_auth.as_os_str().is_empty() {
            return Err("bearer_token_file and basic_auth_file exclude each other".to_owned());
        }
        Self::new(FaultSource::Prometheus, &config.url, config.max_body_bytes, files)
    }

    /// A Locust's web page.
    ///
    /// # Errors
    /// What is wrong with its URL.
    pub fn locust(url: &str, max_body_bytes: usize) -> Result<Self, String> {
        Self::new(FaultSource::Locust, url, max_body_bytes, Files::default())
    }

    fn new(
        source: FaultSource,
        url: &str,
        max_body_bytes: usize,
        files: Files,
    ) -> Result<Self, String> {
        // The URL itself is not shown: it may hold a password.
        let mut base = Url::parse(url).map_err(|error| format!("this is no URL: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err("the URL has to begin with http:// or https:// and name a host".to_owned());
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err("the URL may have a path, but no ? or #".to_owned());
        }
        let has_user = !base.username().is_empty() || base.password().is_some();
        let has_file = [&files.bearer_token, &files.basic_auth]
            .iter()
            .any(|path| !path.as_os_str().is_empty());
        if has_user && has_file {
            return Err("a user in the URL and a file with a token or password exclude each other"
                .to_owned());
        }
        let with_user = base.clone();
        // Neither fails on a URL with a host.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        let shown = base.as_str().trim_end_matches('/').to_owned();
        let built = Mutex::new(None);
        Ok(Self { source, base: with_user, shown, max_body_bytes, files, built })
    }

    /// The URL without user and password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A fault of this server.
    pub fn fault(&self, kind: FaultKind, text: impl Into<String>) -> Fault {
        Fault::new(self.source, kind, text)
    }

    /// A client with the credentials that the files hold now. Connections are kept between sessions
    /// as long as the certificates stay the same.
    ///
    /// # Errors
    /// A fault of kind `credentials` that names the file.
    pub fn session(&self) -> Result<Session, Fault> {
        let certificates = [
            self.read(&self.files.ca)?,
            self.read(&self.files.client_cert)?,
            self.read(&self.files.client_key)?,
        ];
        let authorization = self.authorization()?;
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match &*built {
            Some(built) if built.certificates == certificates => built.client.clone(),
            _ => {
                let client = self.build(&certificates)?;
                *built = Some(Built { certificates, client: client.clone() });
                client
            }
        };
        Ok(Session { client, authorization })
    }

    /// A file's bytes; none for no file.
    fn read(&self, path: &PathBuf) -> Result<Vec<u8>, Fault> {
        if path.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        std::fs::read(path).map_err(|error| {
            self.fault(FaultKind::Credentials, format!("cannot read {}: {error}", path.display()))
        })
    }

    fn authorization(&self) -> Result<Authorization, Fault> {
        let unusable = |path: &PathBuf, problem: &str| {
            self.fault(FaultKind::Credentials, format!("{} {problem}", path.display()))
        };
        let token = self.read(&self.files.bearer_token)?;
        if !self.files.bearer_token.as_os_str().is_empty() {
            let value = [b"Bearer ", token.trim_ascii()].concat();
            let mut value = HeaderValue::from_bytes(&value)
                .map_err(|_| unusable(&self.files.bearer_token, "holds no token"))?;
            value.set_sensitive(true);
            return Ok(Authorization::Bearer(value));
        }
        let pair = self.read(&self.files.basic_auth)?;
        if self.files.basic_auth.as_os_str().is_empty() {
            return Ok(Authorization::None);
        }
        std::str::from_utf8(pair.trim_ascii())
            .ok()
            .and_then(|pair| pair.split_once(':'))
            .map(|(name, password)| Authorization::Basic(name.to_owned(), password.to_owned()))
            .ok_or_else(|| unusable(&self.files.basic_auth, "is not one line user:password"))
    }

    fn build(&self, [ca, cert, key]: &[Vec<u8>; 3]) -> Result<Client, Fault> {
        // Fails only where a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unusable = |path: &PathBuf, error: &dyn std::fmt::Display| {
            self.fault(FaultKind::Credentials, format!("cannot use {}: {error}", path.display()))
        };
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .user_agent(format!("quotascale/{}", VERSION.split(' ').next().unwrap_or(VERSION)));
        if !ca.is_empty() {
            let trusted = Certificate::from_pem_bundle(ca)
                .map_err(|error| unusable(&self.files.ca, &error))?;
            builder = builder.tls_certs_only(trusted);
        } else if self.base.scheme() == "http" {
            // Not the system's certificates, which a small container image lacks.
            builder = builder.tls_certs_only([]);
        }
        if !cert.is_empty() {
            let identity = Identity::from_pem(&[cert.as_slice(), b"\n", key].concat())
                .map_err(|error| unusable(&self.files.client_cert, &error))?;
            builder = builder.identity(identity);
        }
        // As other clients of Prometheus do: nobody means a proxy to reach the own machine.
        let local = self
            .base
            .host_str()
            .is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
        if local {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| {
            self.fault(FaultKind::Credentials, format!("no client can be made: {}", chain(&error)))
        })
    }

    /// The body of the answer to `GET path?query`, whatever its status, with the fault that the
    /// status means. `path` has no slash at its beginning.
    ///
    /// # Errors
    /// The fault that kept a JSON body from arriving.
    pub async fn get(
        &self,
        session: &Session,
        path: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Vec<u8>, Fault> {
        let url = format!("{}/{path}", self.shown());
        let left = deadline.saturating_duration_since(Instant::now());
        let failed = |error: reqwest::Error| self.failed(&url, error, left);
        let mut target = self.base.clone();
        target.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        let mut request = session.client.get(target).query(query).timeout(left);
        request = match &session.authorization {
            Authorization::None => request,
            Authorization::Bearer(token) => request.header(AUTHORIZATION, token.clone()),
            Authorization::Basic(name, password) => request.basic_auth(name, Some(password)),
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let long = || {
            let text = format!("{url}: the answer has more than {} bytes", self.max_body_bytes);
            self.fault(FaultKind::Oversized, text)
        };
        let kind = kind_of(status);
        if kind == Some(FaultKind::Redirect) {
            let text = format!("{url}: answers {status} to elsewhere; name the final address");
            return Err(self.fault(FaultKind::Redirect, text));
        }
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let is_json = content_type.as_ref().is_none_or(is_json);
        if kind.is_none() && !is_json {
            let shown = content_type.as_ref().and_then(|value| value.to_str().ok());
            let text = format!("{url}: answers {} instead of JSON", shown.unwrap_or("something"));
            return Err(self.fault(FaultKind::ContentType, text));
        }
        if response.content_length().is_some_and(|length| length > self.max_body_bytes as u64) {
            return Err(long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.max_body_bytes {
                return Err(long());
            }
            body.extend_from_slice(&chunk);
        }
        match kind {
            None => Ok(body),
            Some(kind) => {
                let details = if is_json { quoted_error(&body) } else { String::new() };
                Err(self.fault(kind, format!("{url}: answers {status}{details}")))
            }
        }
    }

    fn failed(&self, url: &str, error: reqwest::Error, left: Duration) -> Fault {
        let error = error.without_url();
        if error.is_timeout() {
            let text = format!("{url}: no whole answer within {left:.1?}");
            return self.fault(FaultKind::Timeout, text);
        }
        let kind = if error.is_connect() { FaultKind::Connect } else { FaultKind::Truncated };
        self.fault(kind, format!("{url}: {}", chain(&error)))
    }
}

/// The fault that a status means.
fn kind_of(status: StatusCode) -> Option<FaultKind> {
    Some(match status.as_u16() {
        200 => return None,
        300..400 => FaultKind::Redirect,
        // How Prometheus answers a query that it cannot evaluate.
        400 | 422 => FaultKind::ErrorAnswer,
        401 | 403 => FaultKind::Unauthorized,
        429 => FaultKind::Throttled,
        503 => FaultKind::Unavailable,
        500.. => FaultKind::ServerError,
        _ => FaultKind::Status,
    })
}

fn is_json(content_type: &HeaderValue) -> bool {
    let media = content_type.to_str().unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

/// `: type: text` of Prometheus's error answers, shortened.
fn quoted_error(body: &[u8]) -> String {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::new();
    };
    let text = [answer["errorType"].as_str(), answer["error"].as_str()];
    let text = text.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let text: String = text.chars().take(QUOTED).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
