//! The agent in a folder.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::{FittedValueConfig, FittedValueEnvironment, FittedValueSettings};
use super::fit::{PARTS, Parameters};
use super::trainer::{Evaluation, StageRecord, Trainer};
use crate::env::paper::SERVICES;
use crate::error::{Error, Result};
use crate::nn::{Checkpoint, Metadata, TensorFile, TensorValues};
use crate::scenario::Scenario;

/// The kind of its checkpoints.
pub const KIND: &str = "fitted-value";

/// config.json.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    #[serde(default)]
    environment: FittedValueEnvironment,
    training: FittedValueConfig,
    /// Most users of each service that the tables have rows for.
    most_users: [u32; SERVICES],
    stages: Vec<StageRecord>,
}

/// What the tables are about: the services with their options. Another profile needs other tables.
fn layout(scenario: &Scenario) -> Value {
    let services: Vec<Value> = scenario
        .spec
        .service
        .iter()
        .zip(&scenario.profiles)
        .map(|(service, profile)| {
            let options: Vec<Value> = profile
                .options
                .iter()
                .map(|option| json!([option.cpu.0, option.concurrency, option.p95_ms]))
                .collect();
            json!({"name": service.name, "slo_p95_ms": service.slo_p95_ms, "options": options})
        })
        .collect();
    json!({
        "environment": "paper",
        "quota_cpu_m": scenario.spec.quota.cpu_m.0,
        "options": "cpu_m, concurrency, p95_ms",
        "services": services,
    })
}

fn tensor_name(remaining: usize, part: usize) -> String {
    format!("value.{remaining}.{}", PARTS[part])
}

impl Trainer<'_> {
    /// Writes the agent as far as it is trained.
    ///
    /// # Errors
    /// As [`Checkpoint::save`]; [`Error::Failed`] where no function is fitted yet.
    pub fn save(&self, folder: &Path) -> Result<()> {
        if self.parameters.is_empty() {
            return Err(Error::Failed("no value function is fitted yet".to_owned()));
        }
        let mut model = TensorFile::default();
        for (index, parameters) in self.parameters.iter().enumerate() {
            let shapes = Parameters::shapes(self.rows().options());
            for (part, (shape, values)) in shapes.into_iter().zip(parameters.parts()).enumerate() {
                let tensor = TensorValues { shape, values: values.to_vec() };
                model.tensors.insert(tensor_name(index + 1, part), tensor);
            }
        }
        let saved = Saved {
            environment: self.settings.environment.clone(),
            training: self.settings.training.clone(),
            most_users: self.most_users,
            stages: self.stages.clone(),
        };
        let steps: usize = self.stages.iter().map(|stage| stage.states).sum();
        let failed = |error: serde_json::Error| {
            Error::Failed(format!("cannot write the agent's settings: {error}"))
        };
        Checkpoint {
            metadata: Metadata {
                scenario_hash: Some(self.scenario.hash()?),
                evaluation: self
                    .evaluation
                    .map(serde_json::to_value)
                    .transpose()
                    .map_err(failed)?,
                ..Metadata::new(KIND, self.seed, steps as u64)
            },
            model,
            config: serde_json::to_value(saved).map_err(failed)?,
            layout: layout(self.scenario),
            ..Checkpoint::default()
        }
        .save(folder)
    }
}

/// The training that `folder` holds, and the hash of the scenario it belongs to.
pub(super) fn load_trainer<'a>(
    scenario: &'a Scenario,
    folder: &Path,
) -> Result<(Trainer<'a>, Option<String>)> {
    let layout = layout(scenario);
    let checkpoint = Checkpoint::load(folder, &[KIND], Some(&layout))?;
    let damaged = |error: &dyn std::fmt::Display| {
        Error::input(
            folder.display(),
            format!("does not hold what an agent of kind {KIND} needs: {error}"),
            "copy the whole checkpoint again, or take another one",
        )
    };
    let saved: Saved =
        serde_json::from_value(checkpoint.config.clone()).map_err(|error| damaged(&error))?;
    let seed = checkpoint.metadata.seed;
    saved.training.check(&folder.display().to_string())?;
    let settings = FittedValueSettings { environment: saved.environment, training: saved.training };
    let mut trainer = Trainer::with_parts(scenario, settings, seed, saved.most_users)?;
    let options = trainer.rows().options();
    let shapes = Parameters::shapes(options);
    let names: Vec<(String, &[usize])> = (1..=saved.stages.len())
        .flat_map(|stage| {
            let shapes = shapes.iter().enumerate();
            shapes.map(move |(part, shape)| (tensor_name(stage, part), shape.as_slice()))
        })
        .collect();
    let expected = names.iter().map(|(name, shape)| (name.as_str(), *shape));
    checkpoint.model.check(expected, &folder.join("model.safetensors"))?;
    for (index, &record) in saved.stages.iter().enumerate() {
        let mut parameters = Parameters::zeros(options);
        for part in 0..PARTS.len() {
            let tensor = &checkpoint.model.tensors[&tensor_name(index + 1, part)];
            parameters.part_mut(part).copy_from_slice(&tensor.values);
        }
        trainer.push(parameters, record);
    }
    let evaluation: Option<Evaluation> = checkpoint
        .metadata
        .evaluation
        .map(serde_json::from_value)
        .transpose()
        .map_err(|error| damaged(&error))?;
    trainer.evaluation = evaluation;
    Ok((trainer, checkpoint.metadata.scenario_hash))
}
