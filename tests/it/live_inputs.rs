//! What live mode reads, against servers of canned answers: every fault by its kind.

use std::collections::BTreeMap;
use std::time::Duration;

use quotascale::live::exporter::Exporter;
use quotascale::live::fault::{FaultKind, FaultSource};
use quotascale::live::prometheus::{Prometheus, Steps};
use quotascale::live::signal_config::{LocustConfig, PrometheusConfig, Signal, SignalsConfig};
use quotascale::live::signals::{Observation, Signals, SignalsSetup, Target};
use tokio::time::Instant;

use crate::fault_proxy::{FaultProxy, Spoil, Upstream};

/// Longest that a question may take here: a busy machine answers late too.
pub const DEADLINE: Duration = Duration::from_secs(4);

/// Runs `future` to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What spoils an answer, and the fault that it has to be.
pub const SPOILS: [(Spoil, FaultKind); 16] = [
    (Spoil::Slow(Duration::from_secs(20)), FaultKind::Timeout),
    (Spoil::SlowBody(Duration::from_secs(20)), FaultKind::Timeout),
    (Spoil::Status(500), FaultKind::ServerError),
    (Spoil::Status(502), FaultKind::ServerError),
    (Spoil::Status(503), FaultKind::Unavailable),
    (Spoil::Status(429), FaultKind::Throttled),
    (Spoil::Status(401), FaultKind::Unauthorized),
    (Spoil::Status(404), FaultKind::Status),
    (Spoil::Status(422), FaultKind::ErrorAnswer),
    (Spoil::Cut, FaultKind::Truncated),
    (Spoil::Shortened, FaultKind::Truncated),
    (Spoil::HangUp, FaultKind::Truncated),
    (Spoil::Oversized, FaultKind::Oversized),
    (Spoil::Endless, FaultKind::Oversized),
    (Spoil::Redirect, FaultKind::Redirect),
    (Spoil::Html, FaultKind::ContentType),
];

/// `query` at the server behind `proxy`, spoilt in every way; `value` is what it has when not.
pub fn check_spoils(proxy: &FaultProxy, query: &str, value: f64) {
    let mut config = PrometheusConfig::at(&proxy.url());
    config.max_body_bytes = 1 << 16;
    let server = Prometheus::new(&config).unwrap();
    let ask = || {
        wait(async {
            let session = server.session().unwrap();
            server.instant(&session, query, Instant::now() + DEADLINE).await
        })
    };
    for (spoil, kind) in SPOILS {
        proxy.spoil(spoil);
        let fault = ask().expect_err(&format!("{spoil:?}"));
        assert_eq!(fault.kind, kind, "{spoil:?}: {fault}");
        assert!(fault.text.contains(&proxy.url()), "{fault}");
        // What spoilt one answer spoils no later one.
        proxy.spoil(Spoil::Nothing);
        assert_eq!(ask().map(|sample| sample.value), Ok(value), "after {spoil:?}");
    }
    proxy.spoil(Spoil::Warning);
    let sample = ask().unwrap();
    assert_eq!((sample.value, sample.warnings), (value, vec!["a store is away".to_owned()]));
    proxy.spoil(Spoil::Nothing);
}

/// An instant query's answer.
fn vector(values: &[&str]) -> String {
    let elements: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(index, value)| format!(r#"{{"metric":{{"a":"{index}"}},"value":[1.5,"{value}"]}}"#))
        .collect();
    format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        elements.join(",")
    )
}

#[test]
fn spoilt_answers_are_faults_of_their_kinds() {
    check_spoils(&FaultProxy::start(Upstream::Json(vector(&["7"]))), "up", 7.0);
}

#[test]
fn answers_without_one_finite_value_are_faults() {
    let proxy = FaultProxy::start(Upstream::Json(String::new()));
    let server = Prometheus::new(&PrometheusConfig::at(&proxy.url())).unwrap();
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2.5"]}}"#;
    let text = r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#;
    let error = r#"{"status":"error","errorType":"bad_data","error":"no such function"}"#;
    let cases: [(String, Result<f64, FaultKind>); 13] = [
        (vector(&["1e3"]), Ok(1000.0)),
        (scalar.to_owned(), Ok(2.5)),
        (vector(&[]), Err(FaultKind::Empty)),
        (vector(&["1", "1"]), Err(FaultKind::Doubled)),
        (vector(&["NaN"]), Err(FaultKind::NotANumber)),
        (vector(&["+Inf"]), Err(FaultKind::Infinite)),
        (vector(&["-Inf"]), Err(FaultKind::Infinite)),
        (vector(&["many"]), Err(FaultKind::Decode)),
        (text.to_owned(), Err(FaultKind::Decode)),
        (error.to_owned(), Err(FaultKind::ErrorAnswer)),
        ("{}".to_owned(), Err(FaultKind::Decode)),
        ("7".to_owned(), Err(FaultKind::Decode)),
        (r#"{"status":"success"}"#.to_owned(), Err(FaultKind::Decode)),
    ];
    for (body, expected) in cases {
        proxy.set_upstream(Upstream::Json(body.clone()));
        let found = wait(async {
            let session = server.session().unwrap();
            server.instant(&session, "up", Instant::now() + DEADLINE).await
        });
        assert_eq!(
            found.map(|sample| sample.value).map_err(|fault| fault.kind),
            expected,
            "{body}"
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_a_fault_until_it_is() {
    let proxy = FaultProxy::start(Upstream::Json(vector(&["7"])));
    let (address, config) = (proxy.address(), PrometheusConfig::at(&proxy.url()));
    let server = Prometheus::new(&config).unwrap();
    let ask = || {
        wait(async {
            let session = server.session().unwrap();
            server.instant(&session, "up", Instant::now() + DEADLINE).await
        })
    };
    assert!(ask().is_ok());
    drop(proxy);
    assert_eq!(ask().unwrap_err().kind, FaultKind::Connect);
    let _proxy = FaultProxy::start_at(address, Upstream::Json(vector(&["8"])));
    assert_eq!(ask().unwrap().value, 8.0);
}

#[test]
fn credentials_are_read_again_and_never_shown() {
    let proxy = FaultProxy::start(Upstream::Json(vector(&["7"])));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let ask = |config: &PrometheusConfig| {
        let server = Prometheus::new(config).unwrap();
        let ask = || {
            wait(async {
                let session = server.session()?;
                server.instant(&session, "up", Instant::now() + DEADLINE).await
            })
        };
        let first = ask();
        std::fs::write(&file, "second:word\n").unwrap();
        (first, ask())
    };
    let sent = || proxy.heads().pop().unwrap().to_ascii_lowercase();

    std::fs::write(&file, "first\n").unwrap();
    let mut config = PrometheusConfig::at(&proxy.url());
    config.bearer_token_file = file.clone();
    assert!(ask(&config).0.is_ok());
    let heads = proxy.heads();
    assert!(
        heads[0].contains("Bearer first\r\n") && heads[1].contains("Bearer second:word\r\n"),
        "{heads:?}"
    );

    let mut config = PrometheusConfig::at(&proxy.url());
    config.basic_auth_file = file.clone();
    assert!(ask(&config).1.is_ok());
    assert!(sent().contains("authorization: basic c2vjb25kondvcmq="), "{}", sent());

    config.basic_auth_file = folder.path().join("absent");
    let fault = ask(&config).0.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Credentials);
    assert!(fault.text.contains("absent"), "{fault}");

    let url = proxy.url().replace("http://", "http://ann:hush%21@");
    let config = PrometheusConfig::at(&url);
    proxy.spoil(Spoil::Status(500));
    let fault = ask(&config).0.unwrap_err();
    assert!(sent().contains("authorization: basic yw5uomh1c2gh"), "{}", sent());
    assert!(!fault.text.contains("hush") && !fault.text.contains("ann"), "{fault}");
    let server = Prometheus::new(&config).unwrap();
    assert!(!server.shown().contains("ann"), "{}", server.shown());
    assert!(!format!("{server:?}").contains("hush"), "{server:?}");
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    for url in
        ["", "prometheus:9090", "ftp://x", "http://", "http://x/?a=1", "http://a:hush@:99999999"]
    {
        let problem = Prometheus::new(&PrometheusConfig::at(url)).unwrap_err();
        assert!(!problem.contains("hush"), "{problem}");
    }
}

/// What is read of one service called house, whose Prometheus or Locust is behind `proxy`.
pub fn observe(toml: &str, proxy: &FaultProxy, needed: &[Signal]) -> Observation {
    let signals: SignalsConfig = toml::from_str(toml).unwrap();
    let prometheus = PrometheusConfig::at(&proxy.url());
    let urls = BTreeMap::from([("house".to_owned(), proxy.url())]);
    let locust = LocustConfig { urls, max_body_bytes: 1 << 20 };
    let setup = SignalsSetup {
        signals: &signals,
        prometheus: Some(&prometheus),
        locust: Some(&locust),
        targets: &[Target { service: "house".to_owned(), target: "deploy-a".to_owned() }],
        namespace: "default",
        needed,
        speed: 1.0,
        place: &|key| format!("live.toml: {key}"),
    };
    let signals = Signals::new(&setup).unwrap();
    wait(signals.read(Instant::now() + DEADLINE))
}

#[test]
fn readings_are_judged_together() {
    // Every query has the same answer here, that for the age among them.
    let proxy = FaultProxy::start(Upstream::Json(vector(&["30"])));
    let both = [Signal::Users, Signal::P95Ms];
    let seen = observe("", &proxy, &both);
    let service = &seen.services[0];
    assert_eq!(service.value(Signal::Users), Some(30.0));
    assert_eq!(service.reading(Signal::Users).unwrap().age_s, Some(30.0));
    assert!(service.reading(Signal::CpuCores).is_none());
    assert_eq!(seen.faults().count(), 0);
    let asked = proxy.heads().join("");
    assert!(asked.contains("service%3D%22house%22") && !asked.contains("%7Bservice%7D"), "{asked}");

    let seen = observe("users.max_age = '29s'", &proxy, &both);
    let faults: Vec<_> = seen.faults().map(|(_, signal, fault)| (signal, fault.kind)).collect();
    assert_eq!(faults, [(Signal::Users, FaultKind::Stale)]);

    proxy.spoil(Spoil::Warning);
    let seen = observe("users.age_query = ''", &proxy, &[]);
    let reading = seen.services[0].reading(Signal::Users).unwrap();
    assert_eq!((reading.value.as_ref().ok(), reading.age_s), (Some(&Some(30.0)), None));
    assert_eq!(reading.notes[0].kind, FaultKind::Warning);
    proxy.spoil(Spoil::Nothing);

    proxy.set_upstream(Upstream::Json(vector(&["-1"])));
    let seen = observe("", &proxy, &[]);
    assert_eq!(seen.faults().next().unwrap().2.kind, FaultKind::Negative);

    // Zero users with a p95 of zero: nothing to measure. With users it is an old exporter.
    proxy.set_upstream(Upstream::Json(vector(&["0"])));
    let seen = observe("", &proxy, &both);
    assert_eq!(seen.services[0].reading(Signal::P95Ms).unwrap().value, Ok(None));
    assert_eq!(seen.faults().count(), 0);
    let busy = "users.source = 'locust'";
    proxy.set_upstream(Upstream::Json(vector(&["0"]).replacen(
        '{',
        r#"{"state":"running","user_count":3,"current_response_time_percentile_95":null,"#,
        1,
    )));
    let seen = observe(busy, &proxy, &both);
    let faults: Vec<_> = seen.faults().map(|(_, signal, fault)| (signal, fault.kind)).collect();
    assert_eq!(faults, [(Signal::P95Ms, FaultKind::ZeroLatency)]);
    let direct = "users.source = 'locust'\np95_ms.source = 'locust'";
    let seen = observe(direct, &proxy, &both);
    assert_eq!(seen.services[0].value(Signal::Users), Some(3.0));
    assert_eq!(seen.services[0].reading(Signal::P95Ms).unwrap().value, Ok(None));
    assert_eq!(seen.faults().count(), 0);
}

#[test]
fn a_locust_that_does_not_run_is_told() {
    let direct = "users.source = 'locust'\np95_ms.source = 'locust'";
    let both = [Signal::Users, Signal::P95Ms];
    for (name, kind, users) in [
        ("2.8.6-stopped", FaultKind::Stopped, Some(0.0)),
        ("2.47.0-ready", FaultKind::Stopped, Some(0.0)),
        ("master-missing", FaultKind::WorkersMissing, None),
    ] {
        let path = crate::support::data(&format!("locust/{name}.json"));
        let proxy = FaultProxy::start(Upstream::Json(std::fs::read_to_string(path).unwrap()));
        let seen = observe(direct, &proxy, &both);
        assert_eq!(seen.services[0].value(Signal::Users), users, "{name}");
        assert_eq!(seen.services[0].value(Signal::P95Ms), None, "{name}");
        assert!(seen.faults().all(|(_, _, fault)| fault.kind == kind), "{name}");
        assert!(seen.faults().count() > 0, "{name}");
    }
}

#[test]
fn the_exporter_says_what_locust_says_and_no_more() {
    let recorded = |name: &str| {
        let path = crate::support::data(&format!("locust/{name}.json"));
        Upstream::Json(std::fs::read_to_string(path).unwrap())
    };
    let proxy = FaultProxy::start(recorded("2.47.0-running"));
    let mut exporter = Exporter::new("locust", DEADLINE);
    exporter.add(None, &proxy.url()).unwrap();
    let ask = || wait(exporter.text(None)).unwrap();
    let has = |text: &str, line: &str| text.lines().any(|one| one == line);

    let text = ask();
    for line in [
        "locust_up 1",
        "locust_users 5",
        "locust_running 2",
        "locust_total_scrapes 1",
        "locust_workers_count 0",
        "locust_requests_current_response_time_percentile_95 41",
        "locust_requests_current_response_time_percentile_50 24",
        "# TYPE locust_requests_num_requests gauge",
        "locust_requests_num_failures{method=\"GET\",name=\"/page\"} 0",
    ] {
        assert!(has(&text, line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("Aggregated"), "{text}");
    assert!(text.contains("locust_errors{error="), "{text}");

    // After the end the last latency is none.
    proxy.set_upstream(recorded("2.47.0-stopped"));
    let text = ask();
    assert!(has(&text, "locust_users 0") && has(&text, "locust_running 0"), "{text}");
    assert!(!text.contains("percentile"), "{text}");

    // An error page is no Locust that is up.
    proxy.spoil(Spoil::Html);
    let text = ask();
    assert!(has(&text, "locust_up 0") && has(&text, "locust_total_scrapes 3"), "{text}");
    assert!(!text.contains("locust_users"), "{text}");

    // Several: one family, a label each; one that is away leaves the other alone.
    proxy.spoil(Spoil::Nothing);
    let other = FaultProxy::start(recorded("master-running"));
    let mut exporter = Exporter::new("locust", DEADLINE);
    exporter.add(Some("house".to_owned()), &proxy.url()).unwrap();
    exporter.add(Some("senti".to_owned()), &other.url()).unwrap();
    let text = wait(exporter.text(None)).unwrap();
    assert_eq!(text.matches("# TYPE locust_users gauge").count(), 1, "{text}");
    assert!(has(&text, "locust_users{service=\"senti\"} 4"), "{text}");
    assert!(has(&text, "locust_workers_running_count{service=\"senti\"} 1"), "{text}");
    other.spoil(Spoil::Slow(Duration::from_secs(20)));
    let text = wait(exporter.text(Some(Duration::from_millis(500)))).unwrap();
    assert!(has(&text, "locust_up{service=\"senti\"} 0"), "{text}");
    assert!(has(&text, "locust_up{service=\"house\"} 1"), "{text}");
}

#[test]
fn the_exporter_refuses_what_it_cannot_serve() {
    for (args, problem) in [
        (&["--locust", "localhost:8089"][..], "http://"),
        (&["--locust", "http://a:1", "--locust", "http://b:1"], "several Locusts need names"),
        (&["--locust", "x=http://a:1", "--locust", "x=http://b:1"], "there twice"),
        (&["--locust", "http://a:1", "--listen", "203.0.113.1:9"], "the address cannot be used"),
        (&["--locust", "http://a:1", "--timeout", "0s"], "above zero"),
        (&["--locust", "http://a:1", "--namespace", "1x"], "letters, digits"),
    ] {
        let assert = crate::support::quotascale().arg("exporter").args(args).assert().code(2);
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(stderr.contains(problem), "{args:?}: {stderr}");
    }
}

#[test]
fn a_wrong_configuration_names_its_key() {
    let proxy_url = "http://127.0.0.1:1";
    let refused = |toml: &str, with_prometheus: bool| {
        let signals: SignalsConfig = toml::from_str(toml).unwrap();
        let prometheus = PrometheusConfig::at(proxy_url);
        let setup = SignalsSetup {
            signals: &signals,
            prometheus: with_prometheus.then_some(&prometheus),
            locust: None,
            targets: &[Target { service: "house".to_owned(), target: "deploy-a".to_owned() }],
            namespace: "default",
            needed: &Signal::ALL,
            speed: 1.0,
            place: &|key| format!("live.toml: {key}"),
        };
        let error = Signals::new(&setup).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    for (toml, expected) in [
        (
            "users.query = 'm{s=\"${svc}\"}'",
            "live.toml: signals.users.query: nothing stands for ${svc}",
        ),
        ("users.query = ''", "live.toml: signals.users.query: the query is empty"),
        (
            "users.by_service.hause = 'm'",
            "live.toml: signals.users.by_service.hause: there is no service",
        ),
        (
            "cpu_cores.source = 'locust'",
            "live.toml: signals.cpu_cores.source: Locust knows nothing",
        ),
        ("users.source = 'locust'", "live.toml: locust.urls: users is read from Locust"),
    ] {
        let text = refused(toml, true);
        assert!(text.contains(expected), "{text}");
    }
    assert!(refused("", false).contains("live.toml: prometheus: signals come from Prometheus"));
    for toml in ["users.quary = 'x'", "userz = {}", "users.max_age = '0s'", "users.max_age = 60"] {
        assert!(toml::from_str::<SignalsConfig>(toml).is_err(), "{toml}");
    }
    toml::from_str::<SignalsConfig>(
        "users.by_service = { house = 'a', senti = { query = 'b', age_query = '' } }",
    )
    .unwrap();
}

#[test]
fn the_document_shows_the_default_queries() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/live-inputs.md");
    let text = std::fs::read_to_string(path).unwrap();
    for signal in Signal::ALL {
        let row = format!("| {} | `{}` |", signal.name(), signal.default_queries().0);
        assert!(text.contains(&row), "{row}");
    }
    for source in [FaultSource::Prometheus, FaultSource::Locust] {
        for kind in source.kinds() {
            assert!(text.contains(&format!("`{}`", kind.name())), "{}", kind.name());
        }
    }
}

#[test]
fn a_range_is_put_on_its_steps() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"a":"1"},"values":[[100,"1"],[160,"NaN"],[220.001,"3"]]}]}}"#;
    let proxy = FaultProxy::start(Upstream::Json(body.to_owned()));
    let server = Prometheus::new(&PrometheusConfig::at(&proxy.url())).unwrap();
    let range = wait(async {
        let session = server.session().unwrap();
        let steps = Steps { from_s: 100.0, step_s: 60.0, points: 4 };
        server.range(&session, "m", steps, Instant::now() + DEADLINE).await.unwrap()
    });
    let values = &range.series[0].values;
    assert_eq!((values[0], values[2]), (1.0, 3.0));
    assert!(values[1].is_nan() && values[3].is_nan());
    let head = &proxy.heads()[0];
    assert!(head.contains("start=100&end=280&step=60"), "{head}");
}
