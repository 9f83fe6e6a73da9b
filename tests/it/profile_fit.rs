//! `profile fit`: from Locust's files to options that a scenario takes.

use std::fs;

use predicates::str::contains;
use serde_json::Value;

use crate::support::quotascale;

/// A `*_stats.csv` as Locust 2.47 writes it, with this p95.
fn stats(p95_ms: f64, requests: u32) -> String {
    let percentiles = format!(
        "{0},{0},{0},{0},{0},{p95_ms},{p95_ms},{p95_ms},{p95_ms},{p95_ms},{p95_ms}",
        p95_ms * 0.6
    );
    let mut text = "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,\
                    Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\n"
        .to_owned();
    for name in ["GET,/", ",Aggregated"] {
        text += &format!("{name},{requests},0,100,100.0,1.0,999.0,20.0,50.0,0.0,{percentiles}\n");
    }
    text
}

#[test]
fn options_fitted_to_load_tests_run_in_a_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (cpu_m, demand_ms) in [(1000, 40.0), (2000, 21.0)] {
        for users in [5, 10, 20, 30, 40] {
            let file = folder.path().join(format!("shop-cpu{cpu_m}m-users{users}_stats.csv"));
            fs::write(&file, stats((demand_ms * f64::from(users)).round(), 5000)).unwrap();
            files.push(file);
        }
    }
    let out = folder.path().join("shop.toml");
    let arguments = ["--slo-p95-ms", "900", "--json", "--out"];
    let fit = || {
        let mut command = quotascale();
        command.args(["profile", "fit"]).args(&files).args(arguments).arg(&out);
        command
    };
    let output = fit().assert().success().get_output().clone();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["points"].as_array().unwrap().len(), 10);
    for (curve, demand_ms) in value["curves"].as_array().unwrap().iter().zip([40.0, 21.0]) {
        assert!((curve["slope_ms"].as_f64().unwrap() - demand_ms).abs() < 0.5, "{curve}");
        assert!(curve["rms_error"].as_f64().unwrap() < 0.01);
    }
    let options = value["options"].as_array().unwrap();
    assert!(options.iter().all(|option| option["p95_ms"].as_f64().unwrap() <= 900.0));
    assert_eq!(options[options.len() - 1]["concurrency"], 40);
    assert!(folder.path().join("shop.svg").exists() && folder.path().join("shop.pdf").exists());
    fit().assert().code(2).stderr(contains("the file exists"));

    // The text goes into a service as it is.
    let scenario = format!(
        "name = \"shop\"\nenvironment = \"knative\"\nduration_s = 600\ninterval_s = 120\noffset_s = 115\n\
         [quota]\ncpu_m = 20000\nmemory_mib = 65536\nmode = \"enforced\"\n\
         [reward]\nkind = \"slo\"\n\
         [[service]]\nname = \"shop\"\nslo_p95_ms = 900\nmemory_mib = 256\n\
         initial = {{ option = 0, pods = 2 }}\n\
         trace = {{ generator = \"random\", low = 5, high = 60, rows = 5 }}\n{}",
        fs::read_to_string(&out).unwrap()
    );
    fs::write(folder.path().join("scenario.toml"), scenario).unwrap();
    quotascale()
        .current_dir(folder.path())
        .args(["simulate", "scenario.toml", "--policy", "hybrid", "--out", "run"])
        .assert()
        .success();
}

#[test]
fn bad_load_tests_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.toml");
    let refused = |name: &str, text: &str, more: &[&str], message: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        quotascale()
            .args(["profile", "fit"])
            .arg(&file)
            .args(more)
            .arg("--out")
            .arg(&out)
            .assert()
            .code(2)
            .stderr(contains(message));
        assert!(!out.exists());
    };
    let text = stats(500.0, 1000);
    refused("shop_stats.csv", &text, &[], "the pod's CPU is not known");
    refused("shop-cpu1000m_stats.csv", &text, &[], "the number of users is not known");
    refused("cpu1000m-users5_stats.csv", &stats(500.0, 0), &[], "no request was completed");
    refused(
        "cpu1000m-users5_stats.csv",
        &text,
        &["--slo-p95-ms", "100"],
        "no CPU size meets the SLO",
    );
    refused("cpu1000m-users5_stats.csv", &text, &["--slo-p95-ms", "0"], "no latency");
    refused("points.csv", "cpu_m,users,p95_ms\n", &[], "there are none");
    quotascale().args(["profile", "fit", "none.csv", "--out"]).arg(&out).assert().code(2);
}
