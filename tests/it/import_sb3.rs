//! `import sb3`: agents of Stable-Baselines3, and what can be done with them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::support::{data, quotascale, shared};

fn import(zip: &Path, out: &Path) -> assert_cmd::assert::Assert {
    quotascale().args(["import", "sb3"]).arg(zip).arg("--out").arg(out).arg("--json").assert()
}

fn numbers(record: &csv::StringRecord, columns: &[usize]) -> Vec<f64> {
    columns.iter().map(|&column| record[column].parse().unwrap()).collect()
}

/// `act` on the golden observations: logits to 1e-4, every action, values to 1e-5 relative.
fn acts_as(golden: &Path, agent: &Path, work: &TempDir) {
    let out = work.path().join("acts.csv");
    quotascale()
        .arg("act")
        .arg(agent)
        .arg("--observations")
        .arg(golden)
        .arg("--out")
        .arg(&out)
        .arg("--force")
        .assert()
        .success();
    let (mut golden, mut found) =
        (csv::Reader::from_path(golden).unwrap(), csv::Reader::from_path(&out).unwrap());
    let columns = |reader: &mut csv::Reader<File>, prefix: &str| -> Vec<usize> {
        let header = reader.headers().unwrap();
        (0..header.len()).filter(|&column| header[column].starts_with(prefix)).collect()
    };
    let mut rows = 0;
    for prefix in ["logit", "argmax", "value", "obs"] {
        let (expected, given) = (columns(&mut golden, prefix), columns(&mut found, prefix));
        assert_eq!(expected.len(), given.len(), "{prefix}");
    }
    let places = ["logit", "argmax", "value"]
        .map(|prefix| (columns(&mut golden, prefix), columns(&mut found, prefix)));
    for (expected, given) in golden.records().zip(found.records()) {
        let (expected, given) = (expected.unwrap(), given.unwrap());
        let [logits, actions, values] =
            places.each_ref().map(|(of, is)| (numbers(&expected, of), numbers(&given, is)));
        for (a, b) in logits.0.iter().zip(&logits.1) {
            assert!((a - b).abs() < 1e-4, "row {rows}: {a} {b}");
        }
        assert_eq!(actions.0, actions.1, "row {rows}");
        let (a, b) = (values.0[0], values.1[0]);
        assert!((a - b).abs() <= 1e-5 * a.abs().max(1e-2), "row {rows}: {a} {b}");
        rows += 1;
    }
    assert!(rows >= 12, "{rows}");
}

#[test]
fn a_small_agent_is_imported_and_acts_as_pytorch() {
    let work = TempDir::new().unwrap();
    let out = work.path().join("agent");
    let assert = import(&data("sb3/tiny.zip"), &out).success();
    let summary: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(summary["kind"], "trpo");
    assert_eq!(summary["steps"], 4096);
    assert_eq!(summary["options"], serde_json::json!([22, 7, 8]));
    assert_eq!(summary["hidden"], serde_json::json!([3, 3]));
    assert_eq!(summary["source"]["version"], "2.2.1");
    acts_as(&data("sb3/tiny_logits.csv"), &out, &work);
    // It is a policy.
    let policy = format!("tiny:{}", out.display());
    quotascale()
        .current_dir(work.path())
        .args(["simulate", "paper", "--json", "--policy", &policy])
        .assert()
        .success()
        .stdout(contains("\"name\":\"tiny\"").or(contains("\"name\": \"tiny\"")));
    // Another agent there is not replaced unasked.
    import(&data("sb3/tiny.zip"), &out).code(2).stderr(contains("--force"));
    quotascale()
        .args(["import", "sb3"])
        .arg(data("sb3/tiny.zip"))
        .arg("--out")
        .arg(&out)
        .arg("--force")
        .assert()
        .success();
}

/// A copy of the small agent with a member changed (or left out).
fn changed(work: &TempDir, name: &str, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> PathBuf {
    let path = work.path().join("changed.zip");
    let mut from = ZipArchive::new(File::open(data("sb3/tiny.zip")).unwrap()).unwrap();
    let mut to = ZipWriter::new(File::create(&path).unwrap());
    for index in 0..from.len() {
        let mut member = from.by_index(index).unwrap();
        let member_name = member.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        let bytes = if member_name == name { change(bytes) } else { Some(bytes) };
        if let Some(bytes) = bytes {
            to.start_file(member_name, SimpleFileOptions::default()).unwrap();
            to.write_all(&bytes).unwrap();
        }
    }
    to.finish().unwrap();
    path
}

#[test]
fn what_is_no_such_agent_is_refused_with_its_reason() {
    let work = TempDir::new().unwrap();
    let out = work.path().join("agent");
    let refused = |zip: &Path, text: &str| {
        import(zip, &out).code(2).stderr(contains(text)).stderr(contains("zip"));
        assert!(!out.exists());
    };
    refused(&work.path().join("missing.zip"), "cannot read the file");
    let text = work.path().join("text.zip");
    fs::write(&text, "no zip at all").unwrap();
    refused(&text, "is no agent that Stable-Baselines3 saved");
    refused(&changed(&work, "policy.pth", |_| None), "it has no member policy.pth");
    refused(&changed(&work, "data", |_| None), "it has no member data");
    refused(&changed(&work, "data", |_| Some(b"{".to_vec())), "data is not as expected");
    let cut = |bytes: Vec<u8>| Some(bytes[..bytes.len() / 2].to_vec());
    refused(&changed(&work, "policy.pth", cut), "policy.pth cannot be read");
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from));
            Some(text.replace(from, to).into_bytes())
        }
    };
    let heads = changed(&work, "data", replace("[22  7  8]", "[22 10 8]"));
    refused(&heads, "[22, 10, 8] options, 40 in all, where the network has 37");
    let services = changed(&work, "data", replace("[22  7  8]", "[22 15]"));
    refused(&services, "three services");
    let algorithm = changed(&work, "data", replace("cg_max_steps", "buffer_size"));
    refused(&algorithm, "neither TRPO's nor PPO's");
    let kwargs = "\"policy_kwargs\": {";
    let activation =
        "\"policy_kwargs\": {\"activation_fn\": {\"forward\": \"<function ELU.forward at 0x7>\"},";
    refused(&changed(&work, "data", replace(kwargs, activation)), "neither tanh nor ReLU");
}

/// The two published agents: their logits, their totals, and heads that do not fit.
#[test]
fn the_published_agents_act_and_earn_what_they_did() {
    let (Some(paper), Some(older)) =
        (shared("data/sb3/B_tt_TRPOtanh128.zip"), shared("data/sb3/TRPOtanh128_Nov29.zip"))
    else {
        return;
    };
    let work = TempDir::new().unwrap();
    let agent = |zip: &Path, name: &str| {
        let out = work.path().join(name);
        import(zip, &out).success();
        let stem = zip.file_stem().unwrap().to_str().unwrap();
        acts_as(&zip.with_file_name(format!("{stem}_logits.csv")), &out, &work);
        out
    };
    let (paper, older) = (agent(&paper, "paper"), agent(&older, "older"));
    let reward = |more: &[&str]| -> f64 {
        let assert = quotascale()
            .current_dir(work.path())
            .args(["simulate", "paper", "--json", "--force", "--policy"])
            .arg(&paper)
            .args(more)
            .assert()
            .success();
        let summary: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        summary["reward"]["per_seed"][0].as_f64().unwrap()
    };
    assert!((reward(&[]) - 60_553.544_264_754_28).abs() < 1e-9);
    let train200 = data("paper_env/train200.csv");
    let total = reward(&["--trace", train200.to_str().unwrap()]);
    assert!((total - 627_107.920_662_807_8).abs() < 1e-7, "{total}");
    quotascale()
        .current_dir(work.path())
        .args(["evaluate", "paper", "--seeds", "0", "--policies"])
        .arg(&older)
        .assert()
        .code(2)
        .stderr(contains("[22, 10, 8]").and(contains("[22, 7, 8]")));
}
