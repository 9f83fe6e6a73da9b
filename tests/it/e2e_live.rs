//! `live` as a process against a real API server: what it writes, what it survives, who writes.
//!
//! The API server is the one that QUOTASCALE_E2E_KUBECONFIG names; without it each test is skipped.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::disk_full::SmallDisk;
use crate::e2e_live_rig::{Live, Rig, SHOP_FIELDS, Spoil, free_port, wait_for};

/// The pods of `house` in the custom resource.
const HOUSE: &str = "servicehouse_podcount";
const APPLIED: &str = "quotascale_live_ticks_total{outcome=\"applied\"}";
const HELD: &str = "quotascale_live_ticks_total{outcome=\"held\"}";
const FAILED: &str = "quotascale_live_ticks_total{outcome=\"failed\"}";

fn fault(source: &str, kind: &str) -> String {
    format!("quotascale_live_faults_total{{kind=\"{kind}\",source=\"{source}\"}}")
}

/// One `live` behind the proxy, with a tick every second.
fn one(rig: &Rig) -> Live {
    rig.scenario(1, &[]);
    let config = rig.config("a", free_port(), "");
    rig.start(&config, &rig.through_proxy(None), &[])
}

/// Waits until the custom resource asks for `pods` pods of house.
fn house(rig: &Rig, live: &Live, pods: &str) {
    wait_for(&format!("{pods} pods of house; log:\n{}", live.log()), || {
        rig.spec().get(HOUSE).is_some_and(|value| value == pods)
    });
}

fn holder(rig: &Rig) -> String {
    let leases: Api<Lease> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let lease = rig.runtime.block_on(leases.get_opt("quotascale")).unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

#[test]
fn decisions_reach_the_object_and_a_restart_goes_on() {
    let Some(rig) = Rig::new("restart") else { return };
    let live = one(&rig);
    // 20 users, hybrid: one pod of 3000m at concurrency 35; 400 users: ten of 4000m at 60.
    house(&rig, &live, "1");
    assert_eq!(rig.spec().len(), 9);
    assert_eq!(live.get("/readyz"), Some((200, "ok\n".to_owned())));
    assert_eq!(live.get("/healthz"), Some((200, "ok\n".to_owned())));
    rig.users("house", Some(400.0));
    house(&rig, &live, "10");
    live.counts("quotascale_live_ticks_total{outcome=\"unchanged\"}", 1.0);
    let saved = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(rig.path("a-state/state.json")).unwrap()).unwrap()
    };
    assert_eq!(live.stop(), 0);
    assert_eq!(holder(&rig), "", "the lease is given back");
    let before = saved();
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let map = rig.runtime.block_on(maps.get("quotascale-state")).unwrap();
    assert_eq!(map.data.unwrap()["state.json"], before.to_string());

    let live = rig.start(&rig.path("a.toml"), &rig.through_proxy(None), &[]);
    live.logs("goes on from a saved state");
    wait_for("a later tick", || saved()["tick"].as_i64() > before["tick"].as_i64());
    assert!(saved()["step"].as_i64() > before["step"].as_i64(), "the count goes on");
    assert_eq!(live.stop(), 0);
}

#[test]
fn answers_that_pass_are_waited_for_and_others_are_not() {
    let Some(rig) = Rig::new("answers") else { return };
    let live = one(&rig);
    house(&rig, &live, "1");
    for (code, kind, users, pods) in [
        (503, "unavailable", 400.0, "10"),
        (429, "throttled", 20.0, "1"),
        (500, "server_error", 400.0, "10"),
    ] {
        rig.spoil(Spoil::Status(code, 2));
        rig.users("house", Some(users));
        house(&rig, &live, pods);
        live.counts(&fault("kubernetes", kind), 2.0);
    }
    rig.spoil(Spoil::CommitAndHang);
    rig.users("house", Some(20.0));
    live.counts(&fault("kubernetes", "timeout"), 1.0);
    house(&rig, &live, "1");
    let applied = live.metric(APPLIED);
    live.counts("quotascale_live_ticks_total{outcome=\"unchanged\"}", 1.0);
    assert!(applied >= 4.0, "an apply whose answer got lost is read back: {applied}");
    rig.spoil(Spoil::Hang);
    live.counts(&fault("lease", "timeout"), 1.0);
    wait_for("not ready", || live.get("/readyz").is_some_and(|(status, _)| status == 503));
    rig.spoil(Spoil::Nothing);
    rig.users("house", Some(400.0));
    house(&rig, &live, "10");
    wait_for("ready", || live.get("/readyz").is_some_and(|(status, _)| status == 200));
    rig.spoil(Spoil::NoDefinition);
    live.counts(&fault("kubernetes", "crd_missing"), 1.0);
    live.logs("quotascale crd --config FILE | kubectl apply -f -");
    rig.spoil(Spoil::Nothing);
    rig.users("house", Some(20.0));
    house(&rig, &live, "1");
    assert_eq!(live.stop(), 0);
}

#[test]
fn an_object_that_others_touch_is_not_fought_over() {
    let Some(rig) = Rig::new("others") else { return };
    let live = one(&rig);
    house(&rig, &live, "1");
    // Deleted: made anew with all fields.
    let deleted = rig.actions();
    rig.runtime.block_on(deleted.delete("drl-action", &DeleteParams::default())).unwrap();
    rig.users("house", Some(400.0));
    house(&rig, &live, "10");
    assert_eq!(rig.spec().len(), 9);
    // Edited by hand to an option of the profile: the person keeps the field.
    let params =
        PatchParams { field_manager: Some("a-person".to_owned()), ..PatchParams::default() };
    let edit = |rig: &Rig, value: &str| {
        let patch = Patch::Merge(json!({ "spec": { HOUSE: value } }));
        rig.runtime.block_on(rig.actions().patch("drl-action", &params, &patch)).unwrap();
    };
    edit(&rig, "7");
    live.counts(&fault("kubernetes", "conflict"), 1.0);
    live.logs("a-person");
    live.counts(FAILED, 1.0);
    assert_eq!(rig.spec()[HOUSE], "7");
    // To something that is no option: the service is held.
    let held = live.metric(HELD);
    let patch = Patch::Merge(json!({ "spec": { "servicehouse_resource": "123m" } }));
    rig.runtime.block_on(rig.actions().patch("drl-action", &params, &patch)).unwrap();
    live.counts(HELD, held + 1.0);
    live.counts("quotascale_live_guard_interventions_total{rule=\"option_unknown\"}", 1.0);
    assert_eq!(rig.spec()["servicehouse_resource"], "123m");
    // Another installation does not take the object either.
    let config = rig.path("b.toml");
    let text = std::fs::read_to_string(rig.config("b", free_port(), "")).unwrap();
    std::fs::write(&config, text.replace("[lease]\n", "[lease]\nname = \"other\"\n")).unwrap();
    rig.users("senti", Some(150.0));
    let other = rig.start(&config, &rig.through_proxy(None), &[]);
    other.logs("is written by installation");
    other.counts(FAILED, 1.0);
    assert_eq!((other.stop(), live.stop()), (0, 0));
}

#[test]
fn a_pause_and_missing_users_stop_the_writing_alone() {
    let Some(rig) = Rig::new("pause") else { return };
    let live = one(&rig);
    house(&rig, &live, "1");
    let leases: Api<Lease> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let pause = |value: serde_json::Value| {
        let patch =
            Patch::Merge(json!({ "metadata": { "annotations": { "quotascale/paused": value } } }));
        rig.runtime.block_on(leases.patch("quotascale", &PatchParams::default(), &patch)).unwrap();
    };
    pause(json!("true"));
    rig.users("house", Some(400.0));
    live.counts("quotascale_live_ticks_total{outcome=\"paused\"}", 2.0);
    assert_eq!(live.metric("quotascale_live_paused"), 1.0);
    assert_eq!(rig.spec()[HOUSE], "1");
    pause(json!(null));
    house(&rig, &live, "10");
    for (users, kind) in [(None, "empty"), (Some(f64::NAN), "nan")] {
        let held = live.metric(HELD);
        rig.users("house", users);
        live.counts(&fault("prometheus", kind), 1.0);
        live.counts(HELD, held + 1.0);
        assert_eq!(rig.spec()[HOUSE], "10", "the last good decision stays");
    }
    // The other services go on.
    rig.users("numbr", Some(60.0));
    wait_for("numbr to follow", || rig.spec()["servicenumbr_podcount"] != "2");
    rig.users("house", Some(1e6));
    live.counts("quotascale_live_guard_interventions_total{rule=\"users_absurd\"}", 1.0);
    assert_eq!(rig.spec()[HOUSE], "10");
    assert_eq!(live.stop(), 0);
}

#[test]
fn a_state_that_is_not_ours_is_put_aside() {
    let Some(rig) = Rig::new("state") else { return };
    let live = one(&rig);
    house(&rig, &live, "1");
    live.stop();
    let file = rig.path("a-state/state.json");
    let good = std::fs::read_to_string(&file).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), &rig.namespace);
    for (bad, kind) in [
        (good[..good.len() / 2].to_owned(), "unreadable"),
        (good.replacen("\"version\":1", "\"version\":9", 1), "other_version"),
        (good.replacen("\"identity\":\"", "\"identity\":\"0", 1), "other_checkpoint"),
    ] {
        rig.runtime.block_on(maps.delete("quotascale-state", &DeleteParams::default())).unwrap();
        std::fs::write(&file, &bad).unwrap();
        let live = rig.start(&rig.path("a.toml"), &rig.through_proxy(None), &[]);
        live.counts(&fault("state", kind), 1.0);
        live.counts("quotascale_live_ticks_total{outcome=\"unchanged\"}", 1.0);
        let rejected = std::fs::read_to_string(rig.path("a-state/state.json.rejected")).unwrap();
        assert_eq!(rejected, bad);
        assert_eq!(live.stop(), 0);
    }
}

#[test]
fn the_follower_goes_on_when_the_leader_is_killed_or_stopped() {
    let Some(rig) = Rig::new("follow") else { return };
    rig.scenario(1, &[]);
    let kubeconfig = rig.through_proxy(None);
    let configs = [rig.config("a", free_port(), ""), rig.config("b", free_port(), "")];
    let mut leader = rig.start(&configs[0], &kubeconfig, &[]);
    house(&rig, &leader, "1");
    let mut follower = rig.start(&configs[1], &kubeconfig, &[]);
    wait_for("a warm follower", || follower.get("/readyz").is_some_and(|(code, _)| code == 200));
    assert_eq!(follower.metric("quotascale_live_leader"), 0.0);
    let mut users = 400.0;
    for round in 0..3 {
        let held_by = holder(&rig);
        rig.users("house", Some(users));
        house(&rig, &leader, if users > 100.0 { "10" } else { "1" });
        users = 420.0 - users;
        leader.signal("-KILL");
        rig.users("house", Some(users));
        house(&rig, &follower, if users > 100.0 { "10" } else { "1" });
        users = 420.0 - users;
        assert_ne!(holder(&rig), held_by, "round {round}");
        assert!(follower.log().contains("goes on from a saved state"), "the state is adopted");
        let again = rig.start(&configs[round % 2], &kubeconfig, &[]);
        leader = std::mem::replace(&mut follower, again);
    }
    // Stopped until its lease is over: when it goes on, it writes nothing.
    wait_for("a follower", || follower.get("/readyz").is_some_and(|(code, _)| code == 200));
    leader.signal("-STOP");
    rig.users("house", Some(800.0));
    house(&rig, &follower, "20");
    let applied = follower.metric(APPLIED);
    leader.signal("-CONT");
    leader.logs("nothing is written");
    assert_eq!(leader.metric("quotascale_live_leader"), 0.0);
    assert!(follower.metric(APPLIED) >= applied);
    assert_eq!((leader.stop(), follower.stop()), (0, 0));
}

#[test]
fn a_leader_that_cannot_renew_stops_writing_though_it_could() {
    let Some(rig) = Rig::new("renewal") else { return };
    let live = one(&rig);
    house(&rig, &live, "1");
    rig.spoil(Spoil::NoRenewal);
    live.counts(&fault("lease", "unavailable"), 1.0);
    wait_for("no leader", || live.metric("quotascale_live_leader") == 0.0);
    wait_for("not ready", || live.get("/readyz").is_some_and(|(status, _)| status == 503));
    let applied = live.metric(APPLIED);
    rig.users("house", Some(400.0));
    // Three ticks long.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!((rig.spec()[HOUSE].as_str(), live.metric(APPLIED)), ("1", applied));
    rig.spoil(Spoil::Nothing);
    house(&rig, &live, "10");
    assert_eq!(live.stop(), 0);
}

#[test]
fn pods_that_do_not_come_are_counted_and_told() {
    let Some(rig) = Rig::new("followed") else { return };
    let not_followed = fault("kubernetes", "not_followed");
    let live = one(&rig);
    house(&rig, &live, "1");
    assert_eq!(live.metric(&not_followed), 0.0);
    // The operator has died: the pods stay as they are, whatever is asked for.
    rig.ready_pods(5.0);
    rig.users("house", Some(400.0));
    house(&rig, &live, "10");
    live.counts(&not_followed, 2.0);
    live.logs("service house has 5 pods ready of the 10 asked for at the tick before");
    assert!(!live.log().contains("service senti has"), "the others are followed");
    // That stops nothing: the cluster may not have room, and less may be asked for.
    assert_eq!(live.get("/readyz"), Some((200, "ok\n".to_owned())));
    rig.users("house", Some(20.0));
    house(&rig, &live, "1");
    rig.ready_pods(50.0);
    let unchanged = "quotascale_live_ticks_total{outcome=\"unchanged\"}";
    live.counts(unchanged, live.metric(unchanged) + 2.0);
    let counted = live.metric(&not_followed);
    live.counts(unchanged, live.metric(unchanged) + 2.0);
    assert_eq!(live.metric(&not_followed), counted, "all that was asked for is there");
    assert_eq!(live.stop(), 0);
}

#[test]
fn a_published_state_of_another_checkpoint_is_not_adopted() {
    let Some(rig) = Rig::new("published") else { return };
    let live = one(&rig);
    house(&rig, &live, "1");
    assert_eq!(live.stop(), 0);
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let map = rig.runtime.block_on(maps.get("quotascale-state")).unwrap();
    let mut state: serde_json::Value =
        serde_json::from_str(&map.data.unwrap()["state.json"]).unwrap();
    state["identity"] = json!("another");
    state["tick"] = json!(state["tick"].as_i64().unwrap() + 1_000_000);
    let patch = Patch::Merge(json!({ "data": { "state.json": state.to_string() } }));
    let params = PatchParams::default();
    rig.runtime.block_on(maps.patch("quotascale-state", &params, &patch)).unwrap();
    // A follower whose own folder is empty, and a Prometheus that remembers.
    rig.past_users(30.0);
    let follower = rig.start(&rig.config("b", free_port(), ""), &rig.through_proxy(None), &[]);
    follower.counts(&fault("state", "other_checkpoint"), 1.0);
    follower.logs("the published state is not used");
    follower.logs("the history is refilled from Prometheus");
    follower.counts("quotascale_live_ticks_total{outcome=\"unchanged\"}", 1.0);
    assert!(!follower.log().contains("goes on from a saved state"));
    assert_eq!(follower.stop(), 0);
    // It publishes its own in place of that.
    let map = rig.runtime.block_on(maps.get("quotascale-state")).unwrap();
    assert!(!map.data.unwrap()["state.json"].contains("another"));
}

#[test]
fn a_termination_during_an_apply_lets_it_end() {
    let Some(rig) = Rig::new("term") else { return };
    let live = one(&rig);
    house(&rig, &live, "1");
    rig.spoil(Spoil::SlowPatch(700));
    rig.users("house", Some(400.0));
    std::thread::sleep(std::time::Duration::from_millis(1300));
    assert_eq!(live.stop(), 0);
    let state = std::fs::read_to_string(rig.path("a-state/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let wanted = state["spec"][HOUSE].as_str().unwrap().to_owned();
    assert_eq!(state["applied"], true);
    assert_eq!(rig.spec()[HOUSE], wanted, "what is saved as applied is applied");
}

#[test]
fn what_was_decided_and_not_applied_is_applied_after_a_restart() {
    let Some(rig) = Rig::new("again") else { return };
    rig.scenario(30, &[]);
    let config = rig.config("a", free_port(), "");
    let kubeconfig = rig.through_proxy(None);
    // A tick right now, not in up to thirty seconds.
    let mut once = rig.start(&config, &kubeconfig, &["--once"]);
    assert!(once.child.wait().unwrap().success(), "{}", once.log());
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), &rig.namespace);
    rig.runtime.block_on(maps.delete("quotascale-state", &DeleteParams::default())).unwrap();
    let file = rig.path("a-state/state.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    // As if the process had been killed between saving and applying.
    state["applied"] = json!(false);
    state["spec"][HOUSE] = json!("4");
    state["tick"] = json!(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    std::fs::write(&file, state.to_string()).unwrap();
    let live = rig.start(&config, &kubeconfig, &[]);
    live.logs("applies what was decided and not applied");
    house(&rig, &live, "4");
    assert_eq!(live.stop(), 0);
}

#[test]
fn rights_that_are_missing_are_named_and_a_real_quota_binds() {
    let Some(rig) = Rig::new("rights") else { return };
    rig.scenario(1, &[]);
    let config = rig.config("a", free_port(), "");
    let live = rig.start(&config, &rig.through_proxy(Some("limitedtoken")), &[]);
    live.logs("no right to patch drlscaleactions");
    live.counts(&fault("lease", "forbidden"), 1.0);
    wait_for("not ready", || live.get("/readyz").is_some_and(|(status, _)| status == 503));
    assert_eq!(live.stop(), 0);
    let live = rig.start(&config, &rig.through_proxy(Some("expired")), &[]);
    live.counts(&fault("lease", "unauthorized"), 1.0);
    assert_eq!(live.stop(), 0);
    let quotas: Api<ResourceQuota> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let quota = serde_json::from_value(json!({
        "metadata": { "name": "small" }, "spec": { "hard": { "limits.cpu": "20" } },
    }))
    .unwrap();
    rig.runtime.block_on(quotas.create(&PostParams::default(), &quota)).unwrap();
    rig.users("house", Some(400.0));
    let live = rig.start(&config, &rig.through_proxy(None), &[]);
    live.counts("quotascale_live_guard_interventions_total{rule=\"quota_limited\"}", 1.0);
    live.counts(&fault("kubernetes", "quota_differs"), 1.0);
    wait_for("an object", || !rig.spec().is_empty());
    let spec = rig.spec();
    let cores: f64 = ["house", "senti", "numbr"]
        .iter()
        .map(|service| {
            let cpu = &spec[&format!("service{service}_resource")];
            let pods: f64 = spec[&format!("service{service}_podcount")].parse().unwrap();
            cpu.trim_end_matches('m').parse::<f64>().unwrap() / 1000.0 * pods
        })
        .sum();
    assert!(cores <= 20.0, "{spec:?}");
    assert_eq!(live.stop(), 0);
}

#[test]
fn once_and_dry_run_say_what_they_do_by_their_exit_code() {
    let Some(rig) = Rig::new("once") else { return };
    rig.scenario(30, &[]);
    let config = rig.config("a", free_port(), "");
    let kubeconfig = rig.through_proxy(None);
    let run = |more: &[&str]| {
        let mut live = rig.start(&config, &kubeconfig, more);
        (live.child.wait().unwrap().code(), live.log())
    };
    let (code, log) = run(&["--once", "--dry-run"]);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("least CPU within the SLO"));
    assert!(rig.spec().is_empty() && holder(&rig).is_empty(), "a dry run writes nothing");
    assert!(!rig.path("a-state").exists());
    let record = rig.path("record.jsonl");
    let (code, log) = run(&["--once", "--record", record.to_str().unwrap()]);
    assert_eq!((code, rig.spec()[HOUSE].as_str()), (Some(0), "1"), "{log}");
    assert_eq!(run(&["--once"]).0, Some(0), "unchanged");
    rig.users("house", None);
    let (code, log) = run(&["--once", "--record", record.to_str().unwrap()]);
    assert_eq!(code, Some(1), "held: {log}");
    let replayed = crate::support::quotascale()
        .args(["replay", "controller", "--json", "--record"])
        .arg(&record)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&replayed.stdout).trim(), r#"{"ticks":2,"differing":[]}"#);
    assert_eq!(run(&["--once", "--dry-run"]).0, Some(1), "it would be held");
    let (code, log) = run(&["--check"]);
    assert_eq!(code, Some(1), "users of house are missing: {log}");
    rig.users("house", Some(20.0));
    let (code, log) = run(&["--check"]);
    assert_eq!(code, Some(0), "{log}");
    // A definition for other services is told from one that fits.
    let text = std::fs::read_to_string(&config).unwrap();
    let fields = SHOP_FIELDS.replace("-cpu", "-millicores");
    std::fs::write(&config, text + &fields).unwrap();
    let (code, log) = run(&["--check"]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("lacks fields of these services"), "{log}");
}

#[test]
fn with_the_shipped_role_all_works_and_each_missing_verb_is_named() {
    let Some(rig) = Rig::new("role") else { return };
    rig.scenario(1, &[]);
    let config = rig.config("a", free_port(), "");
    rig.account("quotascale", |_| {});
    let token = rig.token("quotascale");
    let kubeconfig = rig.through_proxy(Some(&token));
    let live = rig.start(&config, &kubeconfig, &[]);
    house(&rig, &live, "1");
    rig.users("house", Some(400.0));
    house(&rig, &live, "10");
    assert_eq!(live.get("/readyz"), Some((200, "ok\n".to_owned())));
    let log = live.log();
    assert_eq!(live.stop(), 0);
    assert!(!log.contains("no right to"), "{log}");
    let events: Api<Event> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let events = rig.runtime.block_on(events.list(&ListParams::default())).unwrap();
    assert!(events.items.iter().any(|event| {
        event.message.as_deref().is_some_and(|text| text.contains("house: 10 pods of 4000m"))
    }));
    for (resource, verb, optional) in [
        ("drlscaleactions", "get", false),
        ("drlscaleactions", "create", false),
        ("drlscaleactions", "patch", false),
        ("leases", "get", false),
        ("leases", "create", false),
        ("leases", "update", false),
        ("configmaps", "get", false),
        ("configmaps", "create", false),
        ("configmaps", "update", false),
        ("events", "create", true),
        ("resourcequotas", "list", true),
    ] {
        rig.account("quotascale", |rules| {
            for rule in rules.iter_mut() {
                if rule["resources"][0] == resource {
                    rule["verbs"].as_array_mut().unwrap().retain(|one| one != verb);
                }
            }
            // A rule without a verb is none.
            rules.retain(|rule| rule["verbs"] != serde_json::json!([]));
        });
        let mut live = rig.start(&config, &kubeconfig, &["--check"]);
        let code = live.child.wait().unwrap().code();
        let log = live.log();
        let said = format!("no right to {verb} {resource} in namespace {}", rig.namespace);
        assert!(log.contains(&said), "{said}: {log}");
        assert_eq!(code, Some(i32::from(!optional)), "{resource} {verb}: {log}");
        std::fs::remove_file(config.with_extension("log")).unwrap();
    }
}

#[test]
fn killed_leaders_leave_one_writer_after_the_other() {
    let Some(rig) = Rig::new("audit") else { return };
    let Some(audit) = rig.audit_log() else {
        eprintln!("SKIPPED: the API server keeps no audit log");
        return;
    };
    rig.scenario(1, &[]);
    let full = std::env::var("QUOTASCALE_E2E").is_ok_and(|mode| mode == "full");
    let rounds = if full { 10 } else { 3 };
    let mut kubeconfigs = Vec::new();
    for name in ["left", "right"] {
        rig.account(name, |_| {});
        let path = rig.through_proxy(Some(&rig.token(name)));
        let own = rig.path(&format!("{name}.kubeconfig"));
        std::fs::rename(path, &own).unwrap();
        kubeconfigs.push(own);
    }
    let configs = [rig.config("left", free_port(), ""), rig.config("right", free_port(), "")];
    let start = |side: usize| rig.start(&configs[side], &kubeconfigs[side], &[]);
    let mut side = 0;
    let mut leader = start(side);
    house(&rig, &leader, "1");
    let mut users = 400.0;
    for _ in 0..rounds {
        let follower = start(1 - side);
        wait_for("a follower", || follower.get("/readyz").is_some_and(|(code, _)| code == 200));
        leader.signal("-KILL");
        let killed = std::time::Instant::now();
        rig.users("house", Some(users));
        house(&rig, &follower, if users > 100.0 { "10" } else { "1" });
        let took_s = killed.elapsed().as_secs_f64();
        println!("the next write came {took_s:.1} s after the kill");
        // Lease of 3 s, retry of 0.5 s and 5 s; not asked of a machine that is busy with other tests.
        assert!(!full || took_s <= 8.5, "{took_s} s");
        users = 420.0 - users;
        leader = follower;
        side = 1 - side;
    }
    assert_eq!(leader.stop(), 0);
    let text = std::fs::read_to_string(audit).unwrap();
    let mut writers: Vec<String> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| {
            event["objectRef"]["namespace"] == rig.namespace
                && event["objectRef"]["resource"] == "drlscaleactions"
                && event["verb"] != "delete"
        })
        .map(|event| event["user"]["username"].as_str().unwrap().to_owned())
        .collect();
    assert!(writers.len() > rounds, "{writers:?}");
    writers.dedup();
    assert_eq!(writers.len(), rounds + 1, "each took over once: {writers:?}");
}

#[test]
fn a_full_disk_stops_neither_decisions_nor_the_published_state() {
    let Some(rig) = Rig::new("disk") else { return };
    rig.scenario(1, &[]);
    let Some(disk) = SmallDisk::mount() else { return };
    let config = rig.config("a", free_port(), "");
    let text = std::fs::read_to_string(&config).unwrap();
    let folder = rig.path("a-state").display().to_string();
    let text = text.replace(&folder, &disk.path().join("state").display().to_string());
    std::fs::write(&config, text).unwrap();
    let live = rig.start(&config, &rig.through_proxy(None), &[]);
    house(&rig, &live, "1");
    disk.fill();
    live.counts(&fault("state", "unwritable"), 1.0);
    rig.users("house", Some(400.0));
    house(&rig, &live, "10");
    wait_for("not ready", || live.get("/readyz").is_some_and(|(status, _)| status == 503));
    live.signal("-KILL");
    // What was saved last is whole, and what was published is later.
    let saved = std::fs::read_to_string(disk.path().join("state/state.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let map = rig.runtime.block_on(maps.get("quotascale-state")).unwrap();
    let published: serde_json::Value =
        serde_json::from_str(&map.data.unwrap()["state.json"]).unwrap();
    assert!(published["tick"].as_i64() > saved["tick"].as_i64());
    assert_eq!(published["spec"][HOUSE], "10");
}
