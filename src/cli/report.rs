//! `report`: result folders as one HTML page.

use std::path::{Path, PathBuf};

use super::plot::{no_result, scenario_of, with_ticks};
use super::training_folder::TrainingFolder;
use super::{Common, VERSION, print_json, print_line};
use crate::error::{Error, Result, read_input};
use crate::evaluation::origin;
use crate::files::write_atomically;
use crate::report::html::{Page, Section, sections};
use crate::report::{self, export};

/// Arguments of `report`.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of `evaluate` or `merge` (comparison), run folders (timeline), or folders of `train`.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page.
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
    /// Title of the page.
    #[arg(long, default_value = "quotascale: results")]
    title: String,
}

pub(super) fn run(args: &Args, common: Common) -> anyhow::Result<()> {
    if args.out.is_dir() {
        return Err(Error::input(args.out.display(), "is a folder", "name a file").into());
    }
    let sections: Vec<Section> =
        args.runs.iter().map(|path| section(path, common)).collect::<anyhow::Result<_>>()?;
    let page = Page {
        title: args.title.clone(),
        lead: vec![format!("Made by quotascale {VERSION}.")],
        sections,
    };
    let html = page.to_html()?;
    write_atomically(&args.out, |writer| writer.write_all(html.as_bytes()))?;
    let figures: usize = page.sections.iter().map(|section| section.figures.len()).sum();
    if common.json {
        return print_json(&serde_json::json!({
            "out": args.out, "sections": page.sections.len(), "figures": figures,
        }));
    }
    print_line(format!("report   {} ({figures} figures)", args.out.display()))
}

fn section(path: &Path, common: Common) -> anyhow::Result<Section> {
    if path.join("comparison.json").exists() {
        let comparison = report::load_comparison(path)?;
        return Ok(sections::of_comparison(&comparison, &origin(path)?)?);
    }
    if TrainingFolder::is_at(path) {
        let TrainingFolder { metadata, scenario, rows } = TrainingFolder::read(path)?;
        return Ok(sections::of_training(&metadata, &scenario, &rows)?);
    }
    if !path.join(export::SUMMARY_FILE).exists() {
        return Err(no_result(path).into());
    }
    let scenario = scenario_of(path)?;
    let run = with_ticks(report::load_run(path)?, &scenario, common)?;
    Ok(sections::of_run(&run, &scenario, &origin(&evaluation_of(path)?)?)?)
}

/// The evaluation that a run folder lies in.
fn evaluation_of(run: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(run).map_err(|source| Error::io("find", run, source))?;
    let folder = absolute.ancestors().nth(2).map(Path::to_owned);
    folder.filter(|folder| read_input(&folder.join("manifest.json")).is_ok()).ok_or_else(|| {
        Error::input(
            run.display(),
            "there is no manifest.json two folders up",
            "keep run folders in their evaluation: OUT/POLICY/SEED",
        )
    })
}
