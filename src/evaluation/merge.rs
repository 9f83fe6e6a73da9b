//! Shards back to the evaluation that they are parts of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::folder::{MACHINE, Manifest, TIMING, TUNED, UNREACHED, of_evaluation};
use super::shard::{OPTIMUM, Part};
use super::{Folder, Machine};
use crate::error::{Error, Result, read_input};
use crate::files::write_json;
use crate::manifest::Manifest as _;
use crate::run::Summary;

/// More cells than this are not named one by one.
const MOST_NAMED: usize = 12;

/// An evaluation put together from its shards.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Its folder.
    pub folder: Folder,
    /// The summaries, policies in the order of the tables and seeds rising.
    pub summaries: Vec<Summary>,
    /// The exact optimum of each seed, where all are known.
    pub optima: Option<BTreeMap<u64, f64>>,
    /// The reference that was asked for.
    pub reference: Option<String>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// A shard's folder and what it says of itself.
struct Source {
    folder: Folder,
    manifest: Manifest,
    part: Part,
}

/// Puts the shards in `folders` together in `out`: the cells, the scenario and the settings that were
/// searched for. Tables and figures are the caller's. `version` is this program's.
///
/// # Errors
/// [`Error::Input`] when a folder is no shard, when shards are of different evaluations or versions,
/// or when a cell is missing or there twice.
pub fn merge(folders: &[PathBuf], out: &Path, version: &str, force: bool) -> Result<Merged> {
    let sources: Vec<Source> = folders.iter().map(|path| source(path)).collect::<Result<_>>()?;
    let (first, others) = sources
        .split_first()
        .ok_or_else(|| Error::input("merge", "no folder", "name the folders of all shards"))?;
    for other in others {
        check_siblings(first, other)?;
    }
    if first.manifest.version != version {
        return Err(Error::input(
            first.folder.path().display(),
            format!("it was made by version {}, this is {version}", first.manifest.version),
            "merge with the version that computed the shards",
        ));
    }
    check_policies(&sources)?;
    let unreached = sources.iter().any(|source| source.folder.path().join(UNREACHED).exists());
    let places = find_cells(&sources, unreached)?;
    let tuned = same_file(&sources, TUNED)?;
    let scenario = same_file(&sources, super::folder::SCENARIO)?.ok_or_else(|| {
        Error::input(
            first.folder.path().display(),
            "scenario.toml is missing",
            "copy the shards' folders whole",
        )
    })?;

    let manifest = Manifest { part: None, ..first.manifest.clone() };
    let folder = Folder::claim(out, &manifest, &scenario, force)?;
    if let Some(text) = tuned {
        crate::files::write_atomically(&out.join(TUNED), |writer| {
            writer.write_all(text.as_bytes())
        })?;
    }
    let mut summaries = Vec::new();
    let mut optima = BTreeMap::new();
    let mut machines = BTreeSet::new();
    for place in &places {
        let fingerprint = place.source.folder.fingerprint(place.policy)?;
        folder.claim_policy(place.policy, fingerprint.as_deref())?;
        folder.copy_cell(&place.source.folder, place.policy, place.seed)?;
        machines.extend(machine(&folder.cell(place.policy, place.seed)));
        let summary = place.source.folder.summary(place.policy, place.seed)?;
        let Some(summary) = summary else { continue };
        if place.policy == OPTIMUM {
            optima.insert(place.seed, summary.reward);
        }
        if first.part.policies.iter().any(|policy| policy == place.policy) {
            summaries.push(summary);
        }
    }
    write_timing(&sources, out)?;

    let mut warnings = Vec::new();
    if machines.len() > 1 {
        let machines: Vec<&str> = machines.iter().map(String::as_str).collect();
        warnings.push(format!(
            "the cells were computed on {} kinds of CPU ({}); the last bits are promised on one only",
            machines.len(),
            machines.join("; ")
        ));
    }
    let complete = first.part.optima && !unreached;
    if first.part.optima && unreached {
        warnings.push("no share of the optimum: it is out of reach for a seed".to_owned());
    }
    Ok(Merged {
        folder,
        summaries,
        optima: complete.then_some(optima),
        reference: first.part.reference.clone(),
        warnings,
    })
}

fn source(path: &Path) -> Result<Source> {
    let manifest = of_evaluation(path)?;
    let part = manifest.part.clone().ok_or_else(|| {
        Error::input(
            path.display(),
            "the folder holds a whole evaluation, no shard",
            "name folders that `evaluate --shard I/N` wrote",
        )
    })?;
    Ok(Source { folder: Folder::at(path), manifest, part })
}

fn check_siblings(first: &Source, other: &Source) -> Result<()> {
    let (path, first_path) = (other.folder.path(), first.folder.path());
    let whole = |manifest: &Manifest| Manifest { part: None, ..manifest.clone() };
    if let Some(difference) = whole(&other.manifest).difference(&whole(&first.manifest)) {
        return Err(Error::input(
            path.display(),
            format!("not of the evaluation in {}: {difference}", first_path.display()),
            "merge the shards of one evaluation by one version",
        ));
    }
    if !first.part.is_sibling(&other.part) {
        return Err(Error::input(
            path.display(),
            format!(
                "shard {} of another set of policies, seeds or shards than shard {} in {}",
                other.part.shard,
                first.part.shard,
                first_path.display()
            ),
            "run all shards with the same arguments but for --shard",
        ));
    }
    Ok(())
}

/// The policies of all shards have to be the same, not only called the same.
fn check_policies(sources: &[Source]) -> Result<()> {
    for policy in &sources[0].part.policies {
        let mut known: Option<(&Source, Option<String>)> = None;
        for source in sources.iter().filter(|source| source.folder.has_cells(policy)) {
            let fingerprint = source.folder.fingerprint(policy)?;
            match &known {
                None => known = Some((source, fingerprint)),
                Some((first, other)) if *other != fingerprint => {
                    return Err(Error::input(
                        source.folder.path().display(),
                        format!(
                            "its policy `{policy}` is another one than that in {}",
                            first.folder.path().display()
                        ),
                        "run all shards with the same agents and files",
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// A cell and the shard that has it.
struct Place<'a> {
    policy: &'a str,
    seed: u64,
    source: &'a Source,
}

/// Where each cell is. Optima may be missing where one is `unreached`.
fn find_cells(sources: &[Source], unreached: bool) -> Result<Vec<Place<'_>>> {
    let mut places = Vec::new();
    let mut missing = Vec::new();
    let part = &sources[0].part;
    for (number, (policy, seed)) in part.cells().into_iter().enumerate() {
        let mut holders = sources.iter().filter(|source| source.folder.has_cell(policy, seed));
        match (holders.next(), holders.next()) {
            (Some(one), Some(other)) => {
                return Err(Error::input(
                    other.folder.path().display(),
                    format!("cell {policy}/{seed} is in {} as well", one.folder.path().display()),
                    "name every shard once",
                ));
            }
            (Some(source), None) => places.push(Place { policy, seed, source }),
            (None, _) if unreached && policy == OPTIMUM => {}
            (None, _) => missing.push((part.shard.holder(number), policy, seed)),
        }
    }
    if missing.is_empty() {
        return Ok(places);
    }
    let mut names: Vec<String> = missing
        .iter()
        .take(MOST_NAMED)
        .map(|(shard, policy, seed)| format!("{policy}/{seed} (shard {shard})"))
        .collect();
    if missing.len() > MOST_NAMED {
        names.push(format!("{} more", missing.len() - MOST_NAMED));
    }
    Err(Error::input(
        "merge",
        format!(
            "{} of {} cells are missing: {}",
            missing.len(),
            part.cells().len(),
            names.join(", ")
        ),
        "run these shards again (they go on where they stopped) and name their folders too",
    ))
}

/// The text of a file that every shard that has it has alike.
fn same_file(sources: &[Source], name: &str) -> Result<Option<String>> {
    let mut found: Option<(&Path, String)> = None;
    for source in sources {
        let path = source.folder.path();
        if !path.join(name).exists() {
            continue;
        }
        let text = read_input(&path.join(name))?;
        match &found {
            Some((other, known)) if *known != text => {
                return Err(Error::input(
                    path.join(name).display(),
                    format!("differs from the one in {}", other.display()),
                    "run the shards on one kind of CPU, from the same files",
                ));
            }
            _ => found = Some((path, text)),
        }
    }
    Ok(found.map(|(_, text)| text))
}

/// The CPU that a cell was computed on.
fn machine(cell: &Path) -> Option<String> {
    let text = fs::read_to_string(cell.join(MACHINE)).ok()?;
    let machine: Machine = serde_json::from_str(&text).ok()?;
    Some(machine.cpu)
}

/// The shards' timings side by side, and the seconds of all their cells.
fn write_timing(sources: &[Source], out: &Path) -> Result<()> {
    let mut seconds = serde_json::Map::new();
    let mut shards = Vec::new();
    for source in sources {
        let text = fs::read_to_string(source.folder.path().join(TIMING)).unwrap_or_default();
        let Ok(serde_json::Value::Object(mut timing)) = serde_json::from_str(&text) else {
            continue;
        };
        if let Some(serde_json::Value::Object(cells)) = timing.remove("cell_seconds") {
            seconds.extend(cells);
        }
        timing.insert("shard".to_owned(), source.part.shard.to_string().into());
        shards.push(timing);
    }
    write_json(&out.join(TIMING), &serde_json::json!({ "shards": shards, "cell_seconds": seconds }))
}
