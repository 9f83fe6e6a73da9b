//! The HTML report in a browser: every figure shows, nothing complains, nothing is wider than a phone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use predicates::str::contains;
use serde_json::Value;

use crate::support::quotascale;

/// Names of Chromium; `scripts/test` installs the first.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Looks at the page in a frame of so many pixels and writes what it sees as the document's text.
/// A window of headless Chromium is never narrower than 500 pixels, a frame can be.
const FRAME: &str = r#"<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="frame" src="report.html" style="width:WIDTHpx;height:900px;border:0"></iframe>
<script>
const errors = [];
frame.addEventListener("load", async () => {
  const inner = frame.contentWindow, page = frame.contentDocument;
  inner.addEventListener("error", event => errors.push(String(event.message)));
  await page.fonts.ready;
  const figures = [...page.querySelectorAll("figure")].map(figure => {
    const svg = figure.querySelector("svg"), box = svg.getBoundingClientRect();
    const text = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect());
    const inside = text.filter(one => one.left >= box.left - 1 && one.right <= box.right + 1);
    const style = inner.getComputedStyle(svg);
    return {
      width: box.width, height: box.height, shown: style.visibility == "visible" && style.display != "none",
      title: svg.querySelector("title").textContent, description: svg.querySelector("desc").textContent,
      texts: text.length, inside: inside.length,
    };
  });
  const fonts = [...page.fonts].map(font => font.family + " " + font.status);
  const result = {
    page: page.documentElement.scrollWidth, frame: page.documentElement.clientWidth, figures, fonts, errors,
    unlabelled: page.querySelectorAll("svg:not([role=img]), table:not(:has(caption))").length,
  };
  document.body.textContent = "RESULT" + JSON.stringify(result) + "END";
});
</script>"#;

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = BROWSERS.iter().find_map(|name| {
        folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file())
    });
    if found.is_none() {
        println!("SKIPPED: needs Chromium, which is not installed");
    }
    found
}

/// What a browser says of the report in a frame of `width` pixels.
fn look(browser: &Path, folder: &Path, width: u32) -> Value {
    let frame = folder.join("frame.html");
    fs::write(&frame, FRAME.replace("WIDTH", &width.to_string())).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            // So that the frame may look into the page beside it.
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--window-size=1400,1000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", frame.display()))
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!stderr.contains("CONSOLE"), "{stderr}");
    let result = stdout.split("RESULT").nth(1).and_then(|rest| rest.split("END").next());
    let result = result.unwrap_or_else(|| panic!("no result: {stdout}\n{stderr}"));
    // `--dump-dom` writes the text as HTML.
    serde_json::from_str(&result.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
        .unwrap()
}

#[test]
fn a_browser_shows_the_report_on_a_phone_and_on_a_desk() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for (scenario, out) in [("paper-knative", "knative"), ("paper-random", "paper")] {
        let policies = "kpa-latency,hybrid,fixed:21/6/7,random";
        quotascale()
            .args(["evaluate", scenario, "--policies", policies, "--seeds", "0..2", "--out"])
            .arg(place(out))
            .assert()
            .success();
    }
    quotascale()
        .arg("report")
        .args([place("knative"), place("paper"), place("knative/hybrid/1")])
        .arg("--out")
        .arg(place("report.html"))
        .args(["--title", "Policies <compared> & shown"])
        .assert()
        .success()
        .stdout(contains("3 figures"));
    for width in [400, 1300] {
        let seen = look(&browser, folder.path(), width);
        assert_eq!(seen["frame"], width, "{seen}");
        assert!(seen["page"].as_u64() <= seen["frame"].as_u64(), "overflow at {width}: {seen}");
        assert_eq!(seen["errors"], serde_json::json!([]));
        assert_eq!(seen["unlabelled"], 0);
        assert_eq!(seen["fonts"], serde_json::json!(["DejaVu Sans loaded"]));
        let figures = seen["figures"].as_array().unwrap();
        assert_eq!(figures.len(), 3);
        for figure in figures {
            let number = |key: &str| figure[key].as_f64().unwrap();
            assert_eq!(figure["shown"], true);
            assert!(number("width") >= 350.0 && number("height") >= 80.0, "{figure}");
            assert!(number("texts") > 10.0 && number("inside") == number("texts"), "{figure}");
            assert!(!figure["description"].as_str().unwrap().is_empty());
        }
    }
}

#[test]
fn report_refuses_what_is_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("r.html");
    quotascale()
        .arg("report")
        .arg(folder.path())
        .arg("--out")
        .arg(&out)
        .assert()
        .code(2)
        .stderr(contains("neither a run folder nor an evaluation"));
    assert!(!out.exists());
    quotascale().arg("report").arg("x").arg("--out").arg(folder.path()).assert().code(2);
}
