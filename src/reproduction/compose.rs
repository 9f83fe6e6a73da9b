//! From the folders of a reproduction to its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plan::{Chapter, Evaluation, Show, chapters, evaluations};
use super::{Effort, THEIRS, forecasts, their_agent, trainings};
use crate::error::{Error, Result};
use crate::evaluation::{Cell, Cells, origin};
use crate::nn::Checkpoint;
use crate::policy::{DEFAULT_POLICIES, Registry, tuning};
use crate::report::comparison::Comparison;
use crate::report::html::{Figure, Page, Section, Table, sections};
use crate::report::table::with_interval;
use crate::report::{self, figures};
use crate::trace::series::{Series, SeriesRule};

/// Policies that need a checkpoint, with what they are.
const LEARNED: [&str; 4] = ["recurrent-ppo", "ppo", "trpo", "fitted-value"];
/// World Cup 98 in the folder of other people's data: 2-minute rows, users from 1 to 100.
const WORLD_CUP: [&str; 2] = ["wc98_small_2min.csv", "wc98_tournament_2min.csv"];

/// The paper's own agent.
const THEIR_ZIP: &str = "B_tt_TRPOtanh128.zip";

/// Where the results are and how they came about.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    /// The folder of the reproduction.
    pub root: &'a Path,
    /// How thorough it is.
    pub effort: Effort,
    /// Other people's data, where given.
    pub data: Option<&'a Path>,
    /// Version and commit of the program.
    pub version: &'a str,
}

/// The folder of an evaluation.
pub fn folder(root: &Path, id: &str) -> PathBuf {
    root.join("evaluations").join(id)
}

/// The paper's own agent in `data`, directly or in `sb3`: a zip of Stable-Baselines3.
pub fn their_zip(data: &Path) -> Option<PathBuf> {
    let places = [data.to_owned(), data.join("sb3")];
    places.iter().map(|place| place.join(THEIR_ZIP)).find(|file| file.is_file())
}

/// The World Cup files in `data`, directly or in `traces`.
pub fn world_cup(data: &Path) -> Vec<PathBuf> {
    let places = [data.to_owned(), data.join("traces")];
    let found = WORLD_CUP
        .iter()
        .filter_map(|name| places.iter().map(|place| place.join(name)).find(|file| file.is_file()));
    found.collect()
}

impl Results<'_> {
    /// The whole report.
    ///
    /// # Errors
    /// [`Error::Input`] when results are missing or damaged, [`Error::Failed`] when a figure cannot be
    /// drawn.
    pub fn page(&self) -> Result<Page> {
        let (how, flag) = match self.effort {
            Effort::Quick => ("A quick reproduction: few seeds, wide intervals.", " --quick"),
            Effort::Full => ("A full reproduction.", ""),
        };
        let data = if self.data.is_some() { " --data DIR" } else { "" };
        let lead = vec![
            "Autoscaling several Knative services under one quota: policies compared on the paper's scenario and \
             beyond it. Background: DOI 10.1016/j.future.2024.06.019."
                .to_owned(),
            format!("{how} Made by quotascale {} with: quotascale reproduce{flag}{data}", self.version),
        ];
        let sections =
            chapters().iter().map(|chapter| self.section(chapter)).collect::<Result<_>>()?;
        Ok(Page { title: "quotascale: reproduction".to_owned(), lead, sections })
    }

    fn section(&self, chapter: &Chapter) -> Result<Section> {
        let mut section = Section {
            title: chapter.title.to_owned(),
            paragraphs: chapter.text.iter().map(|text| (*text).to_owned()).collect(),
            ..Section::default()
        };
        for show in &chapter.shows {
            match show {
                Show::Coverage => section.tables.push(self.coverage()?),
                Show::Traffic(id) => section.figures.push(traffic(id)?),
                Show::Comparison(id) => self.comparison(id, &mut section)?,
                Show::Timelines(id, policies) => self.timelines(id, policies, &mut section)?,
                Show::Worlds(title, worlds) => self.worlds(title, worlds, &mut section)?,
                Show::Forecasts => self.forecasts(&mut section)?,
                Show::Curves => self.curves(&mut section)?,
                Show::Parts => self.parts(&mut section)?,
            }
        }
        Ok(section)
    }

    fn load(&self, id: &str) -> Result<Comparison> {
        report::load_comparison(&folder(self.root, id))
    }

    fn comparison(&self, id: &str, section: &mut Section) -> Result<()> {
        let shown = sections::of_comparison(&self.load(id)?, &origin(&folder(self.root, id))?)?;
        section.tables.extend(shown.tables);
        section.figures.extend(shown.figures);
        section.facts.push(("Folder".to_owned(), format!("evaluations/{id}")));
        section.facts.extend(shown.facts);
        section.texts.extend(shown.texts);
        Ok(())
    }

    /// Runs of the first seed, computed once more with every tick.
    fn timelines(&self, id: &str, policies: &[&str], section: &mut Section) -> Result<()> {
        let mut plan = find(id)?.plan(self.root, self.effort)?;
        plan.options.ticks = true;
        let cells = Cells::new(&plan, None)?;
        for name in policies {
            let policy =
                plan.policies.iter().find(|policy| policy.name() == *name).ok_or_else(|| {
                    Error::Failed(format!("{id}: no policy {name} to draw the timeline of"))
                })?;
            let run = cells.compute(&Cell { policy: Arc::clone(policy), seed: plan.seeds[0] })?;
            section.figures.push(sections::run_figure(&run, &plan.scenario)?);
        }
        Ok(())
    }

    fn worlds(&self, title: &str, worlds: &[(&str, &str)], section: &mut Section) -> Result<()> {
        let loaded: Vec<(String, Comparison)> = worlds
            .iter()
            .map(|(label, id)| Ok(((*label).to_owned(), self.load(id)?)))
            .collect::<Result<_>>()?;
        section.figures.push(Figure {
            title: title.to_owned(),
            description: format!(
                "A row a world ({}), a point a policy; means over {} seeds with 95 % bootstrap intervals.",
                worlds.iter().map(|world| world.0).collect::<Vec<_>>().join("; "),
                loaded.first().map_or(0, |(_, comparison)| comparison.seeds.len())
            ),
            picture: figures::worlds_picture(title, &loaded),
            numbers: vec![worlds_table(&loaded)],
        });
        for (label, id) in worlds {
            let evaluation = find(id)?;
            let sets: Vec<String> =
                evaluation.sets.iter().map(|set| format!("--set '{set}'")).collect();
            let command = format!(
                "{} --forecaster {} {} (evaluations/{id})",
                evaluation.scenario,
                evaluation.forecaster,
                sets.join(" ")
            );
            section.facts.push(((*label).to_owned(), command));
        }
        Ok(())
    }

    fn forecasts(&self, section: &mut Section) -> Result<()> {
        let mut all = forecasts::synthetic_days()?;
        let files = self.data.map(world_cup).unwrap_or_default();
        let columns = vec!["users".to_owned()];
        let rule = SeriesRule { columns, masks: Vec::new(), row_s: 120 };
        for file in &files {
            all.extend(Series::load(&file.to_string_lossy(), &rule)?);
        }
        for series in &all {
            let (table, figure) = forecasts::judged(series)?;
            section.tables.push(table);
            section.figures.push(figure);
        }
        if files.is_empty() {
            section.paragraphs.push(format!(
                "World Cup 98: not available; give --data DIR with {}.",
                WORLD_CUP.join(" and ")
            ));
        }
        Ok(())
    }

    fn curves(&self, section: &mut Section) -> Result<()> {
        let logs = trainings::logs(self.root, self.effort)?;
        let title = format!("Training of {} on {}", trainings::AGENT, trainings::CURVES_ON);
        let rows = logs.iter().enumerate().filter_map(|(index, rows)| {
            let last = rows.iter().rfind(|row| row.evaluation_reward.is_some())?;
            let number = |value: Option<f64>, digits| {
                value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
            };
            Some(vec![
                (index + 1).to_string(),
                last.steps.to_string(),
                number(last.evaluation_reward, 2),
                number(last.evaluation_share.map(|share| 100.0 * share), 2),
            ])
        });
        let header = ["training", "steps", "reward", "% of the optimum"];
        let numbers = Table {
            caption: "At the end of each training, most likely actions".to_owned(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
        };
        section.figures.push(Figure {
            description:
                "What the most likely actions earn, over environment steps; a line a training."
                    .to_owned(),
            picture: figures::curves_picture(&title, &logs),
            title,
            numbers: vec![numbers],
        });
        section.paragraphs.push(match self.effort {
            Effort::Full => {
                format!("{} trainings, seeds from 0, in the folder trainings.", logs.len())
            }
            Effort::Quick => {
                "The training of the agent that is shipped with the program; a full reproduction \
                              trains five."
                    .to_owned()
            }
        });
        Ok(())
    }

    fn parts(&self, section: &mut Section) -> Result<()> {
        match self.effort {
            Effort::Full => {
                self.worlds("Agents with a part left out", &trainings::parts(), section)
            }
            Effort::Quick => {
                let text = "Trained and shown in a full reproduction only.";
                section.paragraphs.push(text.to_owned());
                Ok(())
            }
        }
    }

    /// Whether a policy is run in an evaluation, or why not.
    fn state(&self, evaluation: &Evaluation, policy: &str) -> Result<String> {
        if evaluation.policies.contains(&policy) {
            return Ok("run".to_owned());
        }
        if evaluation.theirs && policy == THEIRS {
            return Ok(match Checkpoint::exists(&their_agent(self.root)) {
                true => "run (the paper's own)".to_owned(),
                false => "not available (--data)".to_owned(),
            });
        }
        let scenario = evaluation.scenario()?;
        let settings = || tuning::search(&scenario);
        Ok(match Registry::new(&scenario, &settings)?.policy(policy) {
            Ok(_) => "not run".to_owned(),
            Err(_) => "no checkpoint".to_owned(),
        })
    }

    /// Every policy of the comparison on each of the four scenarios.
    fn coverage(&self) -> Result<Table> {
        let mains = ["paper", "paper-random", "paper-knative", "knative-random"];
        let mut rows = Vec::new();
        for policy in DEFAULT_POLICIES.iter().chain(&LEARNED) {
            let mut row = vec![(*policy).to_owned()];
            for id in mains {
                row.push(self.state(&find(id)?, policy)?);
            }
            rows.push(row);
        }
        let header = std::iter::once("policy").chain(mains).map(str::to_owned).collect();
        Ok(Table {
            caption: "Run, or why not. The oracle is exact on the paper's environment; on the simulator it is a \
                      clairvoyant search, which is no bound"
                .to_owned(),
            header,
            rows,
        })
    }
}

fn find(id: &str) -> Result<Evaluation> {
    let trained = trainings::evaluations(Effort::Full);
    let found = evaluations().into_iter().chain(trained).find(|evaluation| evaluation.id == id);
    found.ok_or_else(|| Error::Failed(format!("no evaluation is called {id}")))
}

fn traffic(id: &str) -> Result<Figure> {
    let scenario = find(id)?.scenario()?;
    let trace = scenario.traffic(0)?;
    let title = format!("Traffic of {}", scenario.name());
    let rows = trace.services.iter().flat_map(|service| {
        let mut from_s = 0;
        service.stages.iter().map(move |stage| {
            let start = from_s;
            from_s += stage.duration_s;
            vec![
                service.service.clone(),
                start.to_string(),
                from_s.to_string(),
                stage.users.to_string(),
            ]
        })
    });
    let numbers = Table {
        caption: "Stages: users at the end of each".to_owned(),
        header: ["service", "from_s", "to_s", "users"].map(str::to_owned).into(),
        rows: rows.collect(),
    };
    Ok(Figure {
        description: "Users of each service over time, seed 0.".to_owned(),
        picture: figures::traffic_picture(&title, &trace),
        title,
        numbers: vec![numbers],
    })
}

/// A row a world and policy.
fn worlds_table(worlds: &[(String, Comparison)]) -> Table {
    let rows = worlds.iter().flat_map(|(label, comparison)| {
        comparison.policies.iter().map(move |policy| {
            let cell = |statistic: &report::Statistic, factor: f64| {
                with_interval(statistic.mean, statistic.ci95, factor)
            };
            vec![
                label.clone(),
                policy.name.clone(),
                cell(&policy.reward, 1.0),
                cell(&policy.slo_violation_share, 100.0),
                cell(&policy.over_quota_cpu_seconds, 1.0),
                cell(&policy.cpu_seconds, 1.0),
                policy.denied_pod_seconds.as_ref().map_or("-".to_owned(), |s| cell(s, 1.0)),
            ]
        })
    });
    let header =
        ["world", "policy", "reward", "over SLO, %", "over quota, CPU-s", "CPU-s", "denied, pod-s"];
    Table {
        caption: "Mean ± half of the 95 % bootstrap interval".to_owned(),
        header: header.map(str::to_owned).into(),
        rows: rows.collect(),
    }
}
