//! `crd`: the definition of the custom resource.

use std::path::PathBuf;

use super::print_line;
use crate::error::Result;
use crate::live::config::LiveFile;
use crate::live::resource::{ActionFormat, FieldTemplates, definition};
use crate::live::setup::load_action_format;
use crate::scenario::Scenario;

/// Arguments of `crd`.
#[derive(clap::Args)]
pub struct Args {
    /// A configuration of `live`, whose services and field templates are taken; repeat it for every
    /// installation of the cluster. Default: the original's nine fields.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let formats = if args.config.is_empty() {
        let scenario = Scenario::load("paper-knative", &[])?;
        vec![ActionFormat::new(&scenario, &FieldTemplates::default(), "kubernetes.fields")?]
    } else {
        let format = |path: &PathBuf| load_action_format(&LiveFile::load(path)?);
        args.config.iter().map(format).collect::<Result<_>>()?
    };
    print_line(definition(&formats).trim_end())
}
