//! `crd`: the definition of the custom resource.

use std::path::PathBuf;

use super::print_line;
use crate::live::config::LiveFile;
use crate::live::resource::{ActionFormat, FieldTemplates};
use crate::live::setup::load_action_format;
use crate::scenario::Scenario;

/// Arguments of `crd`.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration of `live`, whose services and field templates are taken. Default: the original's nine fields.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let format = match &args.config {
        Some(path) => load_action_format(&LiveFile::load(path)?)?,
        None => {
            let scenario = Scenario::load("paper-knative", &[])?;
            ActionFormat::new(&scenario, &FieldTemplates::default(), "kubernetes.fields")?
        }
    };
    print_line(format.definition().trim_end())
}
