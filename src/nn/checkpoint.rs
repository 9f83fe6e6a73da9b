//! Checkpoints: a folder with everything that is needed to act, or to go on training.
//!
//! | file | content |
//! |---|---|
//! | model.safetensors | weights by name |
//! | optimizer.safetensors | moments of Adam and the number of updates (absent: cannot go on) |
//! | normaliser.json | statistics of observations and returns (absent: none used) |
//! | rng.json | states of the random streams (absent: cannot go on bit for bit) |
//! | config.json | settings of the network and its training |
//! | layout.json | the features in their order, and their hash |
//! | metadata.json | kind, version, commit, scenario hash, seed, steps, evaluation, hashes of the files |
//!
//! A folder is written beside its place and renamed, so that a checkpoint is whole or not there. An
//! existing one is replaced in three renames - the old away, the new in - with the new one whole
//! before the first; [`Checkpoint::load`] finds whichever is whole if a replacement was cut off.
//! Loading writes nothing, so a read-only volume serves.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::params::TensorFile;
use crate::error::{Error, Result};

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const NORMALISER: &str = "normaliser.json";
const RNG: &str = "rng.json";
const CONFIG: &str = "config.json";
const LAYOUT: &str = "layout.json";
const METADATA: &str = "metadata.json";

/// What a checkpoint is and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// What it holds: `recurrent-ppo`, `predictor`, …
    pub kind: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// Commit of the program that wrote it.
    pub commit: String,
    /// Hash of the scenario it was trained on.
    pub scenario_hash: Option<String>,
    /// Master seed of the training.
    pub seed: u64,
    /// Environment steps (agents) or updates (predictor) so far.
    pub steps: u64,
    /// How good it is, as its trainer measured it.
    pub evaluation: Option<Value>,
}

impl Metadata {
    /// Of a checkpoint that this program writes.
    pub fn new(kind: &str, seed: u64, steps: u64) -> Self {
        Self {
            kind: kind.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("QUOTASCALE_COMMIT").to_owned(),
            seed,
            steps,
            ..Self::default()
        }
    }
}

/// metadata.json: the metadata, and what the other files have to be.
#[derive(Serialize, Deserialize)]
struct Stamp {
    #[serde(flatten)]
    metadata: Metadata,
    /// SHA-256 of each other file.
    files: BTreeMap<String, String>,
}

/// layout.json.
#[derive(Serialize, Deserialize)]
struct StampedLayout {
    hash: String,
    layout: Value,
}

/// A checkpoint in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// What it is.
    pub metadata: Metadata,
    /// Weights.
    pub model: TensorFile,
    /// The optimiser's state.
    pub optimizer: Option<TensorFile>,
    /// Statistics of the normalisers.
    pub normaliser: Option<Value>,
    /// States of the random streams.
    pub rng: Option<Value>,
    /// Settings of the network and its training.
    pub config: Value,
    /// The features in their order.
    pub layout: Value,
}

/// The hash by which layouts of features are compared: SHA-256 of the JSON text, in hexadecimal.
pub fn layout_hash(layout: &Value) -> String {
    hash(layout.to_string().as_bytes())
}

impl Checkpoint {
    /// Writes the checkpoint to `folder`, replacing one that is there.
    ///
    /// # Errors
    /// [`Error::Input`] when something else than a checkpoint is there or the place cannot be
    /// written to, [`Error::Io`] when writing fails; the old checkpoint is still there then.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let places = Places::new(folder)?;
        let is_empty = || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        if folder.exists() && !folder.join(METADATA).is_file() && !is_empty() {
            return Err(Error::input(
                folder.display(),
                "exists and is no checkpoint",
                "name a folder that does not exist yet, or one that holds a checkpoint",
            ));
        }
        let parent = places.new.parent().unwrap_or(Path::new("."));
        let unusable = |source: std::io::Error| {
            Error::input(
                parent.display(),
                format!("the folder cannot be written to: {source}"),
                "choose another place for the checkpoint",
            )
        };
        fs::create_dir_all(parent).map_err(unusable)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".checkpoint-").suffix(".tmp");
        // Temporary folders are private by default; a checkpoint is as readable as the umask allows.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary = builder.tempdir_in(parent).map_err(unusable)?;
        self.write_files(temporary.path())?;

        places.settle()?;
        rename(temporary.path(), &places.new)?;
        // It is no longer where the guard would remove it.
        let _ = temporary.keep();
        if folder.exists() {
            rename(folder, &places.old)?;
        }
        rename(&places.new, folder)?;
        sync_folder(parent);
        // Both are whole; what is left of the old one is removed at the next chance if not now.
        let _ = fs::remove_dir_all(&places.old);
        Ok(())
    }

    /// What tells what it does from what another checkpoint does: SHA-256 of weights, normaliser, settings
    /// and layout, in hexadecimal.
    ///
    /// # Errors
    /// When a tensor's shape does not fit its values.
    pub fn fingerprint(&self) -> Result<String> {
        let mut text = self.model.to_bytes()?;
        for part in [self.normaliser.as_ref().unwrap_or(&Value::Null), &self.config, &self.layout] {
            text.extend(part.to_string().bytes());
        }
        Ok(hash(&text))
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        let layout = StampedLayout { hash: layout_hash(&self.layout), layout: self.layout.clone() };
        let mut files = vec![
            (MODEL, self.model.to_bytes()?),
            (CONFIG, json(&self.config)?),
            (LAYOUT, json(&layout)?),
        ];
        if let Some(optimizer) = &self.optimizer {
            files.push((OPTIMIZER, optimizer.to_bytes()?));
        }
        for (name, value) in [(NORMALISER, &self.normaliser), (RNG, &self.rng)] {
            if let Some(value) = value {
                files.push((name, json(value)?));
            }
        }
        let hashes = files.iter().map(|(name, bytes)| ((*name).to_owned(), hash(bytes))).collect();
        let stamp = Stamp { metadata: self.metadata.clone(), files: hashes };
        files.push((METADATA, json(&stamp)?));
        for (name, bytes) in files {
            let path = folder.join(name);
            let written = File::create(&path).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            });
            written.map_err(|source| Error::io("write", &path, source))?;
        }
        sync_folder(folder);
        Ok(())
    }

    /// Reads the checkpoint in `folder`, which has to be of one of these kinds (any where the list is
    /// empty) and, where given, of this layout of features.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file and the remedy: no checkpoint, another kind, another layout, a
    /// missing or damaged file.
    pub fn load(folder: &Path, kinds: &[&str], layout: Option<&Value>) -> Result<Self> {
        let places = Places::new(folder)?;
        let place = places.whole();
        if !place.is_dir() || !place.join(METADATA).is_file() {
            let problem = if folder.exists() {
                "is no checkpoint: it holds no metadata.json"
            } else {
                "there is no such folder"
            };
            let remedy = "name the folder of a checkpoint, as `train` writes it";
            return Err(Error::input(folder.display(), problem, remedy));
        }
        Self::from_files(place, kinds, layout, &|name| read(&place.join(name)).map(Cow::Owned))
    }

    /// The checkpoint of these files, names and contents, as [`Self::load`] reads those of a folder;
    /// `place` is what messages call it.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(
        files: &[(&str, &[u8])],
        place: &Path,
        kinds: &[&str],
        layout: Option<&Value>,
    ) -> Result<Self> {
        let find = |wanted: &str| {
            let found = files.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, bytes)| Cow::Borrowed(*bytes)).ok_or_else(|| {
                Error::input(
                    place.join(wanted).display(),
                    "the file is missing",
                    "take another checkpoint: this one is incomplete",
                )
            })
        };
        Self::from_files(place, kinds, layout, &find)
    }

    /// From what `source` gives for the name of a file in `place`.
    fn from_files<'a>(
        place: &Path,
        kinds: &[&str],
        layout: Option<&Value>,
        source: &dyn Fn(&str) -> Result<Cow<'a, [u8]>>,
    ) -> Result<Self> {
        let stamp_path = place.join(METADATA);
        let stamp: Stamp = parse(&stamp_path, &source(METADATA)?)?;
        let kind = stamp.metadata.kind.as_str();
        if !kinds.is_empty() && !kinds.contains(&kind) {
            return Err(Error::input(
                stamp_path.display(),
                format!("is a checkpoint of kind {kind}, not {}", kinds.join(" or ")),
                "name a checkpoint of the right kind",
            ));
        }
        let bytes = |name: &str| -> Result<Option<Cow<'a, [u8]>>> {
            let Some(expected) = stamp.files.get(name) else { return Ok(None) };
            let bytes = source(name)?;
            if hash(&bytes) == *expected {
                return Ok(Some(bytes));
            }
            Err(Error::input(
                place.join(name).display(),
                "is damaged or was changed: it is not the file that was written",
                "copy the whole checkpoint again, or take another one",
            ))
        };
        let needed = |name: &str| {
            bytes(name)?.ok_or_else(|| {
                Error::input(
                    stamp_path.display(),
                    format!("does not list {name}"),
                    "take another checkpoint: this one is incomplete",
                )
            })
        };
        let optional = |name: &str| -> Result<Option<Value>> {
            bytes(name)?.map(|bytes| parse(&place.join(name), &bytes)).transpose()
        };
        let found: StampedLayout = parse(&place.join(LAYOUT), &needed(LAYOUT)?)?;
        if let Some(layout) = layout
            && found.hash != layout_hash(layout)
        {
            return Err(Error::input(
                place.join(LAYOUT).display(),
                format!(
                    "the checkpoint expects other features (layout {:.12}) than are given (layout \
                     {:.12})",
                    found.hash,
                    layout_hash(layout)
                ),
                "use the scenario and settings that it was trained with, or train again",
            ));
        }
        let optimizer = bytes(OPTIMIZER)?
            .map(|bytes| TensorFile::from_bytes(&bytes, &place.join(OPTIMIZER)))
            .transpose()?;
        Ok(Self {
            model: TensorFile::from_bytes(&needed(MODEL)?, &place.join(MODEL))?,
            optimizer,
            normaliser: optional(NORMALISER)?,
            rng: optional(RNG)?,
            config: parse(&place.join(CONFIG), &needed(CONFIG)?)?,
            layout: found.layout,
            metadata: stamp.metadata,
        })
    }

    /// Whether a checkpoint is in `folder` (or beside it, where a replacement was cut off).
    pub fn exists(folder: &Path) -> bool {
        Places::new(folder).is_ok_and(|places| places.whole().join(METADATA).is_file())
    }
}

/// A checkpoint's place and the two beside it that a replacement passes through.
struct Places {
    folder: PathBuf,
    /// The new checkpoint, whole.
    new: PathBuf,
    /// The old checkpoint, whole.
    old: PathBuf,
}

impl Places {
    fn new(folder: &Path) -> Result<Self> {
        let Some(name) = folder.file_name() else {
            return Err(Error::input(
                folder.display(),
                "is no place for a checkpoint",
                "name a folder, as in checkpoints/mine",
            ));
        };
        let beside = |suffix: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(suffix);
            match folder.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.join(hidden),
                _ => Path::new(".").join(hidden),
            }
        };
        Ok(Self { folder: folder.to_owned(), new: beside(".new"), old: beside(".old") })
    }

    /// Where the checkpoint is: in its place, else the new one if the replacement was cut off.
    fn whole(&self) -> &Path {
        [&self.folder, &self.new, &self.old]
            .into_iter()
            .find(|place| place.exists())
            .unwrap_or(&self.folder)
    }

    /// Finishes a replacement that was cut off, so that the places beside are free.
    fn settle(&self) -> Result<()> {
        let whole = self.whole();
        if whole.exists() && whole != self.folder {
            rename(whole, &self.folder)?;
        }
        for left in [&self.new, &self.old] {
            if left.exists() {
                fs::remove_dir_all(left).map_err(|source| Error::io("remove", left, source))?;
            }
        }
        Ok(())
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| Error::io("rename to", to, source))
}

/// Makes renames and new files last through a power failure, where the system can.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| {
        Error::input(
            path.display(),
            format!("cannot read the file: {source}"),
            "copy the whole checkpoint again, or take another one",
        )
    })
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::input(
            path.display(),
            format!("is not what a checkpoint holds here: {error}"),
            "copy the whole checkpoint again, or take another one",
        )
    })
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::Failed(format!("cannot write a checkpoint's JSON: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nn::params::TensorValues;
    use crate::rng::{Rng, Streams};

    fn checkpoint(steps: u64) -> Checkpoint {
        let tensor =
            TensorValues { shape: vec![2, 2], values: vec![0.1, -1.5, 3e-40, steps as f32] };
        let model = TensorFile {
            tensors: BTreeMap::from([("actor.weights".to_owned(), tensor)]),
            steps: None,
        };
        Checkpoint {
            metadata: Metadata {
                scenario_hash: Some("abc".to_owned()),
                evaluation: Some(json!({"reward": 60553.54})),
                ..Metadata::new("recurrent-ppo", u64::MAX, steps)
            },
            optimizer: Some(TensorFile { steps: Some(steps), ..model.clone() }),
            model,
            normaliser: Some(json!({"mean": [0.1, 1e300], "count": 3.5})),
            rng: Some(serde_json::to_value(Streams::new(1).open("act")).unwrap()),
            config: json!({"units": 128, "learning_rate": 1e-3}),
            layout: json!(["users", "option"]),
        }
    }

    fn message(result: Result<Checkpoint>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn a_checkpoint_comes_back_and_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("deep/agent");
        assert!(!Checkpoint::exists(&folder));
        fs::create_dir_all(&folder).unwrap();
        assert!(!Checkpoint::exists(&folder), "an empty folder is a place, not a checkpoint");
        checkpoint(1).save(&folder).unwrap();
        let layout = json!(["users", "option"]);
        let load = || Checkpoint::load(&folder, &["ppo", "recurrent-ppo"], Some(&layout)).unwrap();
        assert_eq!(load(), checkpoint(1));
        let rng: Rng = serde_json::from_value(load().rng.unwrap()).unwrap();
        assert_eq!(rng, Streams::new(1).open("act"));
        let fewer = Checkpoint { optimizer: None, normaliser: None, rng: None, ..checkpoint(2) };
        fewer.save(&folder).unwrap();
        assert_eq!(load(), fewer);
        let names = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!(names(folder.parent().unwrap()), 1, "nothing is left beside it");
        assert_eq!(names(&folder), 4);
    }

    #[test]
    fn a_replacement_cut_off_anywhere_leaves_a_whole_checkpoint() {
        for (there, expected) in [("new folder", 1), ("new old", 2), ("old folder", 2), ("old", 1)]
        {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("agent");
            let places = Places::new(&folder).unwrap();
            // The order of the renames: new (2) beside folder (1); folder away; new in.
            for name in there.split(' ') {
                let (path, steps) = match name {
                    "new" => (&places.new, 2),
                    "old" => (&places.old, 1),
                    _ => (&folder, expected),
                };
                fs::create_dir(path).unwrap();
                checkpoint(steps).write_files(path).unwrap();
            }
            let load = || Checkpoint::load(&folder, &[], None).unwrap();
            assert_eq!(load().metadata.steps, expected, "{there}");
            assert!(Checkpoint::exists(&folder));
            checkpoint(3).save(&folder).unwrap();
            assert_eq!(load().metadata.steps, 3, "{there}");
            assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "{there}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("agent");
        let load = || Checkpoint::load(&folder, &["recurrent-ppo"], None);
        assert!(message(load()).contains("no such folder"));
        checkpoint(1).save(&folder).unwrap();
        load().unwrap();

        let text = message(Checkpoint::load(&folder, &["predictor"], None));
        assert!(text.contains("kind recurrent-ppo, not predictor"), "{text}");
        let text = message(Checkpoint::load(&folder, &[], Some(&json!(["users"]))));
        assert!(text.contains("layout.json") && text.contains("train again"), "{text}");

        for name in [MODEL, OPTIMIZER, NORMALISER, RNG, CONFIG, LAYOUT, METADATA] {
            let path = folder.join(name);
            let good = fs::read(&path).unwrap();
            fs::write(&path, &good[..good.len() / 2]).unwrap();
            let text = message(load());
            assert!(text.contains(name), "cut {name}: {text}");
            fs::remove_file(&path).unwrap();
            let text = message(load());
            assert!(text.contains(name), "missing {name}: {text}");
            fs::write(&path, &good).unwrap();
        }
        let path = folder.join(MODEL);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(message(load()).contains("model.safetensors: is damaged"));
    }

    #[test]
    fn bytes_go_through_the_checks_of_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("agent");
        checkpoint(1).save(&folder).unwrap();
        let names = [MODEL, OPTIMIZER, NORMALISER, RNG, CONFIG, LAYOUT, METADATA];
        let read = names.map(|name| fs::read(folder.join(name)).unwrap());
        let whole: Vec<(&str, &[u8])> =
            names.into_iter().zip(read.iter().map(Vec::as_slice)).collect();
        let load = |files: &[(&str, &[u8])], kinds: &[&str]| {
            Checkpoint::from_bytes(files, Path::new("shipped"), kinds, None)
        };
        assert_eq!(load(&whole, &["recurrent-ppo"]).unwrap(), checkpoint(1));
        assert!(message(load(&whole, &["trpo"])).contains("not trpo"));
        for index in 0..whole.len() {
            let mut files = whole.clone();
            files[index].1 = &files[index].1[1..];
            let text = message(load(&files, &[]));
            assert!(text.contains(&format!("shipped/{}", names[index])), "{text}");
            files.remove(index);
            assert!(message(load(&files, &[])).contains("is missing"));
        }
    }

    #[test]
    fn a_folder_that_is_no_checkpoint_is_not_replaced() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("thesis.txt"), "years of work").unwrap();
        let error = checkpoint(1).save(place.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(place.path().join("thesis.txt").exists());
        assert!(message(Checkpoint::load(place.path(), &[], None)).contains("metadata.json"));
    }
}
