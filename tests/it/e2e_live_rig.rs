//! What the end-to-end tests of `live` need: a Prometheus whose answers a test sets, a proxy that
//! spoils the API server's answers, a namespace for each test, and `live` as a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use quotascale::live::resource::{GROUP, KIND, PLURAL, Spec, VERSION};
use tokio::runtime::Runtime;

/// Where the API server's kubeconfig lies.
const KUBECONFIG: &str = "QUOTASCALE_E2E_KUBECONFIG";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(40);

/// The kubeconfig of a real API server, or `None` with one counted line where there is none.
pub fn kubeconfig() -> Option<PathBuf> {
    match std::env::var_os(KUBECONFIG) {
        Some(path) => Some(PathBuf::from(path)),
        None => {
            eprintln!("SKIPPED: {KUBECONFIG} names no API server");
            None
        }
    }
}

/// The line of `[kubernetes]` that names the fields of the shop's services.
pub const SHOP_FIELDS: &str = "fields = { cpu = \"${service}-cpu\", concurrency = \"${service}-target\", \
                               pods = \"${service}-pods\" }\n";

/// The scenario of five services that docs/own-services.md shows.
pub fn shop_scenario() -> String {
    let document = include_str!("../../docs/own-services.md");
    let (_, rest) = document.split_once("```toml\n").unwrap();
    rest.split("```").next().unwrap().to_owned()
}

/// What the proxy does to requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spoil {
    /// Nothing.
    Nothing,
    /// Answers so many requests of this method to custom resources with this status.
    Status(u16, u32),
    /// Applies, then does not answer: once.
    CommitAndHang,
    /// Answers nothing at all.
    Hang,
    /// Does not know the custom resource.
    NoDefinition,
    /// Answers patches only after so many milliseconds.
    SlowPatch(u64),
    /// Renews no lease.
    NoRenewal,
}

#[derive(Clone)]
struct Proxy {
    admin: reqwest::Client,
    /// Shows no certificate: a token alone says who asks.
    bare: reqwest::Client,
    server: String,
    spoil: Arc<Mutex<Spoil>>,
}

/// What the Prometheus of a test knows.
struct Known {
    /// Users by service; `None`: no series.
    users: BTreeMap<String, Option<f64>>,
    /// Ready pods of every service.
    ready_pods: f64,
    /// Users of every service in the past, where it knows of one.
    past_users: Option<f64>,
}

type Answers = Arc<Mutex<Known>>;

/// The rig of one test.
pub struct Rig {
    pub runtime: Runtime,
    pub folder: tempfile::TempDir,
    pub namespace: String,
    pub client: Client,
    known: Answers,
    spoil: Arc<Mutex<Spoil>>,
    prometheus: String,
    proxy: String,
}

impl Rig {
    /// A rig in a namespace of its own; `None` where there is no API server.
    pub fn new(test: &str) -> Option<Self> {
        let kubeconfig = kubeconfig()?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().unwrap();
        let users = ["house", "senti", "numbr"].map(|service| (service.to_owned(), Some(20.0)));
        let known = Known { users: BTreeMap::from(users), ready_pods: 50.0, past_users: None };
        let known = Arc::new(Mutex::new(known));
        let spoil = Arc::new(Mutex::new(Spoil::Nothing));
        let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let namespace = format!("{test}-{nanos:x}");
        let (client, prometheus, proxy) = runtime.block_on(async {
            let config = config(&kubeconfig).await;
            let client = Client::try_from(config.clone()).unwrap();
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let object = Namespace {
                metadata: ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() },
                ..Namespace::default()
            };
            namespaces.create(&PostParams::default(), &object).await.unwrap();
            apply_definition(&client).await;
            let router = Router::new().fallback(answer_query).with_state(Arc::clone(&known));
            let prometheus = serve(router).await;
            let state = Proxy {
                admin: upstream(&kubeconfig, true),
                bare: upstream(&kubeconfig, false),
                server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
                spoil: Arc::clone(&spoil),
            };
            let proxy = serve(Router::new().fallback(pass_on).with_state(state)).await;
            (client, prometheus, proxy)
        });
        let folder = tempfile::tempdir().unwrap();
        Some(Self { runtime, folder, namespace, client, known, spoil, prometheus, proxy })
    }

    /// Sets the users of a service; `None`: its series is gone.
    pub fn users(&self, service: &str, users: Option<f64>) {
        self.known.lock().unwrap().users.insert(service.to_owned(), users);
    }

    /// Sets the ready pods of every service.
    pub fn ready_pods(&self, pods: f64) {
        self.known.lock().unwrap().ready_pods = pods;
    }

    /// Sets the users of every service at all times before.
    pub fn past_users(&self, users: f64) {
        self.known.lock().unwrap().past_users = Some(users);
    }

    /// Spoils requests from now on.
    pub fn spoil(&self, spoil: Spoil) {
        *self.spoil.lock().unwrap() = spoil;
    }

    /// A scenario with a decision every `interval_s` seconds, with these overrides of lines.
    pub fn scenario(&self, interval_s: u32, replace: &[(&str, &str)]) {
        let mut text = include_str!("../../scenarios/paper-knative.toml")
            .replace("interval_s = 120", &format!("interval_s = {interval_s}"))
            .replace("offset_s = 115", "offset_s = 0")
            .replace("duration_s = 2400", "max_lateness_s = 30\nduration_s = 2400");
        for (from, to) in replace {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        std::fs::write(self.path("scenario.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a configuration for process `name`, with `more` at its end.
    pub fn config(&self, name: &str, port: u16, more: &str) -> PathBuf {
        let text = format!(
            "version = 1\nscenario = \"scenario.toml\"\ncheckpoint = \"hybrid\"\n\
             [prometheus]\nurl = \"{}\"\n\
             [lease]\nduration = \"3s\"\nrenew_deadline = \"2s\"\nretry = \"500ms\"\n\
             [state]\ndir = \"{}\"\n\
             [telemetry]\nlisten = \"127.0.0.1:{port}\"\n{more}\
             [kubernetes]\nnamespace = \"{}\"\ntimeout = \"1s\"\n",
            self.prometheus,
            self.path(&format!("{name}-state")).display(),
            self.namespace,
        );
        let path = self.path(&format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A kubeconfig that goes through the proxy, as an administrator or with a token.
    pub fn through_proxy(&self, token: Option<&str>) -> PathBuf {
        let user = token.map_or("{}".to_owned(), |token| format!("{{token: \"{token}\"}}"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: t\n\
             clusters: [{{name: t, cluster: {{server: \"{}\"}}}}]\n\
             users: [{{name: u, user: {user}}}]\n\
             contexts: [{{name: t, context: {{cluster: t, user: u}}}}]\n",
            self.proxy
        );
        let path = self.path("kubeconfig");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes the account `name` with the shipped Role, whose rules `change` may change.
    pub fn account(&self, name: &str, change: impl Fn(&mut Vec<serde_json::Value>)) {
        let text = include_str!("../../deploy/rbac.yaml");
        // The rules in the shipped file's own words.
        let rule = |part: &str| -> serde_json::Value {
            let list = |key: &str| -> Vec<String> {
                let (_, rest) = part.split_once(&format!("{key}: [")).unwrap();
                let items = rest.split(']').next().unwrap();
                items.split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect()
            };
            serde_json::json!({
                "apiGroups": list("apiGroups"), "resources": list("resources"), "verbs": list("verbs"),
            })
        };
        let mut rules: Vec<serde_json::Value> =
            text.split("\n- ").filter(|part| part.starts_with("apiGroups")).map(rule).collect();
        assert_eq!(rules.len(), 5);
        change(&mut rules);
        let rbac = "rbac.authorization.k8s.io";
        let metadata = serde_json::json!({ "name": name, "namespace": self.namespace });
        let subject = serde_json::json!({ "kind": "ServiceAccount", "name": name, "namespace": self.namespace });
        let role = serde_json::json!({ "apiGroup": rbac, "kind": "Role", "name": name });
        for (path, mut object) in [
            ("api/v1", serde_json::json!({ "apiVersion": "v1", "kind": "ServiceAccount" })),
            (
                "apis/rbac.authorization.k8s.io/v1",
                serde_json::json!({ "apiVersion": format!("{rbac}/v1"), "kind": "Role", "rules": rules }),
            ),
            (
                "apis/rbac.authorization.k8s.io/v1",
                serde_json::json!({
                    "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
                    "roleRef": role, "subjects": [subject],
                }),
            ),
        ] {
            object["metadata"] = metadata.clone();
            let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            let url = format!(
                "/{path}/namespaces/{}/{plural}/{name}?fieldManager=test&force=true",
                self.namespace
            );
            let request = axum::http::Request::patch(url)
                .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
                .body(object.to_string().into_bytes())
                .unwrap();
            self.runtime.block_on(self.client.request::<serde_json::Value>(request)).unwrap();
        }
    }

    /// A token of the account `name`.
    pub fn token(&self, name: &str) -> String {
        let body = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {},
        });
        let url = format!("/api/v1/namespaces/{}/serviceaccounts/{name}/token", self.namespace);
        let request = axum::http::Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .unwrap();
        let answer: serde_json::Value =
            self.runtime.block_on(self.client.request(request)).unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// The API server's audit log, where it keeps one beside its kubeconfig.
    pub fn audit_log(&self) -> Option<PathBuf> {
        let named = std::env::var_os("QUOTASCALE_E2E_AUDIT_LOG").map(PathBuf::from);
        let path = named.or_else(|| Some(kubeconfig()?.with_file_name("audit.log")))?;
        path.exists().then_some(path)
    }

    pub fn actions(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(GROUP, VERSION, KIND);
        let resource = ApiResource::from_gvk_with_plural(&kind, PLURAL);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// The fields of the custom resource; empty when there is none.
    pub fn spec(&self) -> Spec {
        let object = self.runtime.block_on(self.actions().get_opt("drl-action")).unwrap();
        let spec = object.and_then(|object| object.data.get("spec").cloned()).unwrap_or_default();
        serde_json::from_value(spec).unwrap_or_default()
    }

    /// Starts `live`.
    pub fn start(&self, config: &Path, kubeconfig: &Path, more: &[&str]) -> Live {
        let log = config.with_extension("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_quotascale"))
            .arg("live")
            .arg("--config")
            .arg(config)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(more)
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        let text = std::fs::read_to_string(config).unwrap();
        let (_, rest) = text.split_once("listen = \"").unwrap();
        let address = rest.split('"').next().unwrap().to_owned();
        Live { child, log, address }
    }
}

/// A running `live`.
pub struct Live {
    pub child: Child,
    pub log: PathBuf,
    /// Of its endpoints.
    pub address: String,
}

impl Live {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log holds `text`.
    pub fn logs(&self, text: &str) {
        wait_for(&format!("{text} in the log:\n{}", self.log()), || self.log().contains(text));
    }

    /// The answer of an endpoint: status and text.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: t\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        Some((status, text.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// The value of a metric, labels and all as in the text.
    pub fn metric(&self, name: &str) -> f64 {
        let Some((200, text)) = self.get("/metrics") else { return 0.0 };
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric is at least `least`.
    pub fn counts(&self, name: &str, least: f64) {
        wait_for(&format!("{name} >= {least}; log:\n{}", self.log()), || {
            self.metric(name) >= least
        });
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Ends it with SIGTERM and gives its exit code.
    pub fn stop(mut self) -> i32 {
        self.signal("-TERM");
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done`, or fails naming `what`.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that nobody listens at, and none that the kernel gives to a connection before it is used: those
/// begin at 32768. No test of this process gets it too.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = 20_000 + (std::process::id() % 100) as u16 * 100;
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| from + NEXT.fetch_add(1, Ordering::Relaxed))
        .take(1_000)
        .find(free)
        .expect("one of a thousand ports is free")
}

async fn config(kubeconfig: &Path) -> Config {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()
}

/// A client of the API server; an administrator's shows the kubeconfig's certificate.
fn upstream(kubeconfig: &Path, admin: bool) -> reqwest::Client {
    let text = std::fs::read_to_string(kubeconfig).unwrap();
    let decode = |key: &str| {
        let (_, rest) = text.split_once(&format!("{key}: ")).unwrap();
        let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
        let encoded = rest.split(end).next().unwrap();
        let script = ["-c", "printf %s \"$0\" | base64 -d", encoded];
        Command::new("sh").args(script).output().unwrap().stdout
    };
    let mut pem = decode("client-certificate-data");
    pem.extend(decode("client-key-data"));
    let ca = decode("certificate-authority-data");
    let builder =
        reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()]);
    if admin {
        return builder.identity(reqwest::Identity::from_pem(&pem).unwrap()).build().unwrap();
    }
    builder.build().unwrap()
}

/// The definition of the custom resource, as `quotascale crd` prints it for the installations of all
/// tests: they share one server, and it has one definition.
async fn apply_definition(client: &Client) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("shop.toml"), shop_scenario()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quotascale"));
    command.arg("crd");
    for (name, scenario, fields) in
        [("paper-live.toml", "paper-knative", ""), ("shop-live.toml", "shop.toml", SHOP_FIELDS)]
    {
        let text = format!(
            "version = 1\nscenario = \"{scenario}\"\ncheckpoint = \"hybrid\"\n\
             [prometheus]\nurl = \"http://127.0.0.1:9\"\n[kubernetes]\n{fields}"
        );
        std::fs::write(path(name), text).unwrap();
        command.args([Path::new("--config"), &path(name)]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let request = axum::http::Request::patch(format!(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}?fieldManager=test&force=true"
    ))
    .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
    .body(output.stdout)
    .unwrap();
    client.request::<serde_json::Value>(request).await.unwrap();
    // Served a moment after it is accepted.
    for _ in 0..200 {
        if client.list_api_group_resources(&format!("{GROUP}/{VERSION}")).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the definition is not served");
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The Prometheus of a test: users as set, everything else as if all were well.
async fn answer_query(State(known): State<Answers>, query: RawQuery, request: Request) -> Response {
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let text = format!("{}&{}", query.0.unwrap_or_default(), String::from_utf8_lossy(&body));
    let asked = reqwest::Url::parse(&format!("http://t/?{text}")).unwrap();
    let asked: BTreeMap<String, String> = asked.query_pairs().into_owned().collect();
    let query = asked.get("query").cloned().unwrap_or_default();
    let service = ["house", "senti", "numbr"].into_iter().find(|one| query.contains(one));
    let value = if query.starts_with("time()") {
        Some(0.5)
    } else if query.contains("percentile_95") {
        Some(900.0)
    } else if query.contains("locust_users") {
        service.and_then(|service| known.lock().unwrap().users.get(service).copied().flatten())
    } else if query.contains("condition=\"true\"") {
        Some(known.lock().unwrap().ready_pods)
    } else {
        Some(0.0)
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let range = asked.contains_key("step");
    let result = match value {
        _ if range => {
            let number = |key: &str| -> f64 { asked[key].parse().unwrap() };
            let (start, end, step) = (number("start"), number("end"), number("step"));
            let rows = ((end - start) / step).round() as u32;
            let past = known.lock().unwrap().past_users.map(|users| {
                let at = |row: u32| (start + f64::from(row) * step, users.to_string());
                (0..=rows).map(at).collect::<Vec<_>>()
            });
            past.map_or(
                serde_json::json!([]),
                |values| serde_json::json!([{ "metric": {}, "values": values }]),
            )
        }
        Some(value) => {
            let value = if value.is_nan() { "NaN".to_owned() } else { value.to_string() };
            serde_json::json!([{ "metric": {}, "value": [now, value] }])
        }
        None => serde_json::json!([]),
    };
    let kind = if range { "matrix" } else { "vector" };
    axum_json(&serde_json::json!({
        "status": "success",
        "data": { "resultType": kind, "result": result },
    }))
}

fn axum_json(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Passes a request on to the API server, or spoils it.
async fn pass_on(State(proxy): State<Proxy>, request: Request) -> Response {
    let is_action = request.uri().path().contains(PLURAL);
    let is_patch = request.method() == Method::PATCH;
    let spoil = *proxy.spoil.lock().unwrap();
    match spoil {
        Spoil::Hang => {
            std::future::pending::<()>().await;
        }
        Spoil::NoDefinition if request.uri().path().contains(GROUP) => {
            return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
        }
        Spoil::Status(code, left) if is_action && is_patch && left > 0 => {
            *proxy.spoil.lock().unwrap() = Spoil::Status(code, left - 1);
            let status = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                "message": "spoiled", "reason": "Spoiled",
            });
            let code = StatusCode::from_u16(code).unwrap();
            return (code, axum_json(&status)).into_response();
        }
        Spoil::NoRenewal
            if request.method() == Method::PUT && request.uri().path().contains("/leases/") =>
        {
            return (StatusCode::SERVICE_UNAVAILABLE, "spoiled\n").into_response();
        }
        Spoil::SlowPatch(millis) if is_action && is_patch => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        _ => {}
    }
    let url = format!("{}{}", proxy.server, request.uri());
    let method = request.method().clone();
    let by_token = request.headers().contains_key(header::AUTHORIZATION);
    let client = if by_token { &proxy.bare } else { &proxy.admin };
    let mut passed = client.request(method, url);
    for name in [header::CONTENT_TYPE, header::ACCEPT, header::AUTHORIZATION] {
        if let Some(value) = request.headers().get(&name) {
            passed = passed.header(name, value);
        }
    }
    let body = to_bytes(request.into_body(), 8 << 20).await.unwrap();
    let answer = passed.body(body).send().await.unwrap();
    if spoil == Spoil::CommitAndHang && is_action && is_patch {
        *proxy.spoil.lock().unwrap() = Spoil::Nothing;
        std::future::pending::<()>().await;
    }
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let body = answer.bytes().await.unwrap();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
