//! What live mode reads, against the real servers of scripts/e2e.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quotascale::live::fault::FaultKind;
use quotascale::live::locust::{Locust, Report, State};
use quotascale::live::prometheus::{Prometheus, Steps};
use quotascale::live::signal_config::{PrometheusConfig, Signal, SignalsConfig};
use quotascale::live::signals::{Observation, Signals, SignalsSetup, Target};
use tokio::time::Instant;

use crate::e2e_live_rig::free_port;
use crate::fault_proxy::{FaultProxy, Upstream};
use crate::live_inputs::{DEADLINE, check_spoils, wait};
use crate::support::{e2e, quotascale};

/// Longest wait for something that has to come: targets are taken up in beats of 5 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// Asks again and again until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Makes Prometheus scrape an address under a job of its own; the file goes when dropped.
struct Scraped(PathBuf);

impl Scraped {
    fn new(job: &str, address: SocketAddr) -> Self {
        let folder = PathBuf::from(e2e("TARGETS").unwrap());
        let path = folder.join(format!("{job}.json"));
        let text = format!(r#"[{{"targets":["{address}"],"labels":{{"job":"{job}"}}}}]"#);
        // Renamed, so that it is never seen in part.
        let new = folder.join(format!("{job}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &path).unwrap();
        Self(path)
    }
}

impl Drop for Scraped {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A process that ends when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prometheus(url: &str) -> Prometheus {
    Prometheus::new(&PrometheusConfig::at(url)).unwrap()
}

fn instant(server: &Prometheus, query: &str) -> Result<f64, FaultKind> {
    wait(async {
        let session = server.session().unwrap();
        server.instant(&session, query, Instant::now() + DEADLINE).await
    })
    .map(|sample| sample.value)
    .map_err(|fault| fault.kind)
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn address_of(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

#[test]
fn faults_of_a_real_prometheus() {
    let Some(url) = e2e("PROMETHEUS") else { return };
    let old_ms = ((now_s() - 600.0) * 1000.0) as u64;
    let text = format!(
        "good 7\nnot_a_number NaN\nendless +Inf\nnegative -2\ntwo{{a=\"1\"}} 1\ntwo{{a=\"2\"}} 1\nold 9 {old_ms}\n"
    );
    let exposed = FaultProxy::start(Upstream::Text(text));
    let _scraped = Scraped::new("faults", exposed.address());
    let server = prometheus(&url);
    until("sample", || instant(&server, "good").ok());
    assert_eq!(instant(&server, "good"), Ok(7.0));
    assert_eq!(instant(&server, "scalar(good)"), Ok(7.0));
    assert_eq!(instant(&server, "absent_here"), Err(FaultKind::Empty));
    assert_eq!(instant(&server, "two"), Err(FaultKind::Doubled));
    assert_eq!(instant(&server, "not_a_number"), Err(FaultKind::NotANumber));
    assert_eq!(instant(&server, "endless"), Err(FaultKind::Infinite));
    assert_eq!(instant(&server, "sum(("), Err(FaultKind::ErrorAnswer));
    assert_eq!(instant(&server, "good[1m]"), Err(FaultKind::Decode));

    check_spoils(&FaultProxy::start(Upstream::Server(address_of(&url))), "good", 7.0);

    // The long look-back still gives the old sample; its age tells.
    let seen = |query: &str| {
        let toml = format!("users.query = '{query}'");
        let seen = observe(&url, &toml, &["house"], &[]);
        let reading = seen.services[0].reading(Signal::Users).unwrap().clone();
        (reading.value.map_err(|fault| fault.kind), reading.age_s)
    };
    let (value, age_s) = seen("old");
    assert_eq!(value, Err(FaultKind::Stale));
    assert!((590.0..700.0).contains(&age_s.unwrap()), "{age_s:?}");
    let (value, age_s) = seen("good");
    assert_eq!(value, Ok(Some(7.0)));
    assert!(age_s.unwrap() < 30.0, "{age_s:?}");
    assert_eq!(seen("negative").0, Err(FaultKind::Negative));
    assert_eq!(seen("sum(good)"), (Ok(Some(7.0)), None));

    // A target that is gone: its series end at once.
    drop(exposed);
    until("end of the series", || {
        (instant(&server, "good") == Err(FaultKind::Empty)).then_some(())
    });
}

fn observe(url: &str, toml: &str, services: &[&str], needed: &[Signal]) -> Observation {
    let signals: SignalsConfig = toml::from_str(toml).unwrap();
    let config = PrometheusConfig::at(url);
    let targets: Vec<Target> = services
        .iter()
        .map(|&name| Target { service: name.to_owned(), target: format!("deploy-{name}") })
        .collect();
    let setup = SignalsSetup {
        signals: &signals,
        prometheus: Some(&config),
        locust: None,
        targets: &targets,
        namespace: "e2e",
        needed,
        speed: 1.0,
        place: &|key| key.to_owned(),
    };
    let signals = Signals::new(&setup).unwrap();
    wait(signals.read(Instant::now() + DEADLINE))
}

#[test]
fn signals_of_pods_as_kube_state_metrics_has_them() {
    let Some(url) = e2e("PROMETHEUS") else { return };
    let pod = |pod: &str, ready: u8| {
        format!(
            "kube_pod_container_resource_requests{{resource=\"cpu\",unit=\"core\",container=\"user-container\",namespace=\"e2e\",pod=\"{pod}\"}} 0.5\n\
             kube_pod_container_resource_requests{{resource=\"cpu\",unit=\"core\",container=\"queue-proxy\",namespace=\"e2e\",pod=\"{pod}\"}} 0.025\n\
             kube_pod_status_ready{{condition=\"true\",namespace=\"e2e\",pod=\"{pod}\"}} {ready}\n\
             kube_pod_status_ready{{condition=\"false\",namespace=\"e2e\",pod=\"{pod}\"}} {}\n",
            1 - ready
        )
    };
    let text = [
        pod("deploy-a-00001-x", 1),
        pod("deploy-a-00001-y", 1),
        pod("deploy-a-00002-x", 0),
        pod("deploy-a-00001-z", 1),
        "kube_pod_deletion_timestamp{namespace=\"e2e\",pod=\"deploy-a-00001-z\"} 1.7e9\n"
            .to_owned(),
    ]
    .concat();
    let exposed = FaultProxy::start(Upstream::Text(text));
    let _scraped = Scraped::new("pods", exposed.address());
    let server = prometheus(&url);
    until("pods", || instant(&server, "count(kube_pod_status_ready{namespace=\"e2e\"})").ok());
    let needed = &Signal::ALL[2..];
    let seen = observe(&url, "", &["a", "b"], needed);
    let values = |index: usize| {
        let service = &seen.services[index];
        needed.iter().map(|&signal| service.value(signal)).collect::<Vec<_>>()
    };
    assert_eq!(values(0), [Some(2.0), Some(2.0), Some(1.0), Some(1.0)]);
    assert_eq!(values(1), [Some(0.0); 4]);
    let faults: Vec<_> = seen.faults().map(|(_, signal, fault)| (signal, fault.kind)).collect();
    assert_eq!(faults, [(Signal::Users, FaultKind::Empty); 2]);
    drop(exposed);
    until("end of the pods", || {
        let seen = observe(&url, "", &["b"], needed);
        (seen.faults().count() == 5).then_some(())
    });
}

/// What a Locust says now.
fn report(url: &str) -> Report {
    wait(async {
        let locust = Locust::new(url, 1 << 20).unwrap();
        let session = locust.session().unwrap();
        locust.read(&session, Instant::now() + Duration::from_secs(5)).await.unwrap()
    })
}

#[test]
fn both_locusts_directly_and_through_exporter_and_prometheus() {
    let Some(url) = e2e("PROMETHEUS") else { return };
    let (old, new) = (e2e("LOCUST_OLD").unwrap(), e2e("LOCUST_NEW").unwrap());
    let believable = |p95_ms: f64| (20.0..10_000.0).contains(&p95_ms);
    for (url, users) in [(&old, 3.0), (&new, 4.0)] {
        let p95_ms = until("p95", || report(url).p95_ms);
        let report = report(url);
        assert_eq!((report.state, report.users), (State::Running, users), "{url}");
        assert!(believable(p95_ms), "{url}: {p95_ms} ms");
        println!("{url}: {} users, p95 {p95_ms} ms directly", report.users);
    }

    let mut exporter = Command::new(env!("CARGO_BIN_EXE_quotascale"))
        .args(["exporter", "--json", "--listen", "127.0.0.1:0"])
        .args(["--locust", &format!("old={old}"), "--locust", &format!("new={new}")])
        .stdout(Stdio::piped())
        .spawn()
        .map(Running)
        .unwrap();
    let mut line = String::new();
    BufReader::new(exporter.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = serde_json::from_str::<serde_json::Value>(&line).unwrap()["listen"].clone();
    let _scraped = Scraped::new("exporter", address.as_str().unwrap().parse().unwrap());
    let both = [Signal::Users, Signal::P95Ms];
    let seen = until("figures of both", || {
        let seen = observe(&url, "", &["old", "new"], &both);
        (seen.faults().count() == 0).then_some(seen)
    });
    for (service, users) in seen.services.iter().zip([3.0, 4.0]) {
        assert_eq!(service.value(Signal::Users), Some(users));
        let p95_ms = service.value(Signal::P95Ms).unwrap();
        assert!(believable(p95_ms), "{p95_ms} ms");
        assert!(service.reading(Signal::P95Ms).unwrap().age_s.unwrap() < 30.0);
        println!("{users} users, p95 {p95_ms} ms through exporter and Prometheus");
    }
    let server = prometheus(&url);
    for (query, least) in [
        (
            "sum by (service) (locust_up) == 1 and on (service) locust_running{service=\"new\"} == 2",
            1.0,
        ),
        ("count(locust_requests_num_requests{service=\"old\"})", 2.0),
        ("sum(locust_requests_num_requests{service=\"new\",name=\"/page\"})", 1.0),
        ("count(locust_requests_current_rps{name!~\"/page|/fails\"}) or vector(7)", 7.0),
    ] {
        let value = instant(&server, query).unwrap();
        assert!(value >= least, "{query}: {value}");
    }
    // The past is there for a forecaster that starts anew.
    let signals: SignalsConfig = toml::from_str("").unwrap();
    let config = PrometheusConfig::at(&url);
    let setup = SignalsSetup {
        signals: &signals,
        prometheus: Some(&config),
        locust: None,
        targets: &[Target { service: "new".to_owned(), target: "new".to_owned() }],
        namespace: "e2e",
        needed: &[],
        speed: 1.0,
        place: &|key| key.to_owned(),
    };
    let signals = Signals::new(&setup).unwrap();
    let steps = Steps { from_s: now_s() - 3600.0, step_s: 1.0, points: 3601 };
    let past = wait(signals.history(steps, Instant::now() + DEADLINE)).remove(0).unwrap();
    assert!(past[0].is_nan() && past.iter().filter(|users| **users == 4.0).count() > 0);

    // SIGTERM ends it well.
    let status = Command::new("kill").arg(exporter.0.id().to_string()).status().unwrap();
    assert!(status.success());
    assert_eq!(exporter.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_real_locust_before_and_after_a_test() {
    let Some(web) = e2e("WEB") else { return };
    for program in ["LOCUST_OLD_PROGRAM", "LOCUST_NEW_PROGRAM"] {
        let port = free_port();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/locustfile.py");
        let folder = tempfile::tempdir().unwrap();
        let _locust = Command::new(e2e(program).unwrap())
            .args([
                "-f",
                file,
                "--host",
                &web,
                "--web-host",
                "127.0.0.1",
                "--web-port",
                &port.to_string(),
            ])
            .current_dir(&folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map(Running)
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let read = || {
            wait(async {
                let locust = Locust::new(&url, 1 << 20).unwrap();
                let session = locust.session().unwrap();
                locust.read(&session, Instant::now() + DEADLINE).await
            })
        };
        let ready = until("Locust", || read().ok());
        assert_eq!((ready.state, ready.users, ready.p95_ms), (State::Ready, 0.0, None));
        post(port, "/swarm", "user_count=2&spawn_rate=2");
        until("p95", || {
            let report = read().ok()?;
            (report.users == 2.0 && report.state == State::Running).then_some(())?;
            report.p95_ms
        });
        // One version wants GET, the other POST, and refuses the other.
        post(port, "/stop", "");
        get(port, "/stop");
        let stopped = until("end", || read().ok().filter(|report| report.state == State::Stopped));
        assert_eq!(stopped.users, 0.0);
    }
}

fn request(port: u16, text: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
}

fn get(port: u16, path: &str) {
    request(port, &format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n"));
}

fn post(port: u16, path: &str, form: &str) {
    let length = form.len();
    let kind = "application/x-www-form-urlencoded";
    request(
        port,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{form}"
        ),
    );
}

#[test]
fn certificates_of_files_are_trusted_and_shown() {
    let Some(kubeconfig) = e2e("KUBECONFIG") else { return };
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let url = text.split('"').find(|part| part.starts_with("https://")).unwrap();
    let pki = PathBuf::from(&kubeconfig).parent().unwrap().join("pki");
    let kind = |config: &PrometheusConfig| {
        let server = Prometheus::new(config).unwrap();
        wait(async {
            let session = server.session().unwrap();
            server.instant(&session, "up", Instant::now() + DEADLINE).await.unwrap_err().kind
        })
    };
    // The API server is no Prometheus, but its refusals tell who it took us for.
    let mut config = PrometheusConfig::at(url);
    assert_eq!(kind(&config), FaultKind::Connect);
    config.ca_file = pki.join("ca.crt");
    assert_eq!(kind(&config), FaultKind::Unauthorized);
    config.client_cert_file = pki.join("admin.crt");
    config.client_key_file = pki.join("admin.key");
    assert_eq!(kind(&config), FaultKind::Status);
}

#[test]
fn past_traffic_becomes_a_trace() {
    let Some(url) = e2e("PROMETHEUS") else { return };
    let exposed = FaultProxy::start(Upstream::Text(
        "past_users{service=\"house\"} 3\npast_users{service=\"senti\"} 4.5\n".to_owned(),
    ));
    let _scraped = Scraped::new("past", exposed.address());
    let server = prometheus(&url);
    let from_s = until("sample", || instant(&server, "min(timestamp(past_users))").ok()).ceil();
    until("later sample", || (now_s() > from_s + 4.0).then_some(()));
    let folder = tempfile::tempdir().unwrap();
    let import = |query: &str, more: &[&str]| {
        let mut run = quotascale();
        run.current_dir(&folder).args([
            "trace",
            "import",
            &url,
            "--kind",
            "prometheus",
            "--step",
            "1s",
        ]);
        run.args([
            "--query",
            query,
            "--from",
            &from_s.to_string(),
            "--to",
            &(from_s + 2.0).to_string(),
        ]);
        run.args(more).assert()
    };
    let csv = "service,duration_s,users,spawn_rate\n";
    let rows = |name: &str, users: &str| format!("{name},1,{users},{users}\n").repeat(3);
    import("past_users", &["--out", "a.csv"]).success();
    assert_eq!(
        std::fs::read_to_string(folder.path().join("a.csv")).unwrap(),
        format!("{csv}{}{}", rows("house", "3"), rows("senti", "5"))
    );
    import("past_users", &["--fractional", "--services", "x,y", "--out", "b.csv"]).success();
    assert_eq!(
        std::fs::read_to_string(folder.path().join("b.csv")).unwrap(),
        format!("{csv}{}{}", rows("x", "3"), rows("y", "4.5"))
    );
    import("past_users", &["--services", "x"]).code(2);
    import("past_users offset 1h", &[]).code(2);
    import("sum((", &[]).code(2);
    import("past_users", &["--stage-s", "60"]).code(2);
}
