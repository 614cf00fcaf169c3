//! nab (and ms_cloud, laid out alike): series by themselves, judged row by row with one setting for all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::asd::number_behind;
use super::detect_score::{PROFILES, Series, nab};
use super::judged::judged;
use super::{Task, scorer, unscored};
use crate::bench::{Figure, Report};

pub(super) fn answer(task: &Task) -> Result<Report> {
    let names = series(&task.data.join("series"))?;
    let mut report = Report::new("");
    let windows = windows(&task.data.join("windows.json"))?;
    let mut all = Vec::new();
    for name in &names {
        let scores = detect(task, name)?;
        let own = windows.as_ref().and_then(|windows| windows.get(name));
        if let Some(windows) = own {
            all.push(Series {
                scores,
                windows: windows.clone(),
            });
        }
    }
    if all.len() < names.len() {
        unscored(&mut report, "some series");
    }
    if all.is_empty() {
        return Ok(report);
    }
    let said = scorer(task, "nab_score.py", &[&task.data, &task.out], &[])?;
    let how = format!(
        "{} series, one setting; the threshold is NAB's, the best for the profile",
        all.len()
    );
    for profile in PROFILES {
        let ours = nab(&all, profile);
        let figure = Figure::new(&format!("NAB {}", profile.name), ours, &how);
        let is_target = task.set == "nab" && profile.name == "standard";
        report.add(if is_target {
            figure.at_least(65.0)
        } else {
            figure
        });
        if let Some(said) = &said {
            let theirs = number_behind(said, profile.name).context("a profile of nab_score.py")?;
            ensure!(
                (ours - theirs).abs() < 1e-2,
                "{}: ours {ours}, the scorer's {theirs}",
                profile.name
            );
        }
    }
    if let Some(said) = scorer(task, "alarm_score.py", &[&task.data, &task.out], &[])?
        && let Some(total) = said.lines().last()
    {
        report.note(format!(
            "alarm_score.py, one false alarm a series and day: {}",
            total.trim()
        ));
    }
    if task.set == "nab" {
        report.note("reference, standard profile: ARTime 74.9, HTM 70.1, relative entropy 54.6, random cut forest 51.7, windowed Gaussian 39.6".to_owned());
    }
    Ok(report)
}

/// `<group>/<name>.csv` of all series, in order.
fn series(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for group in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let group = group?.path();
        if !group.is_dir() {
            continue;
        }
        for file in fs::read_dir(&group)? {
            let file = file?.path();
            if file.extension().is_some_and(|ending| ending == "csv") {
                let name = file.strip_prefix(folder).context("a series' name")?;
                names.push(name.to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    ensure!(
        !names.is_empty(),
        "no <group>/<name>.csv in {}",
        folder.display()
    );
    Ok(names)
}

type Windows = BTreeMap<String, Vec<(usize, usize)>>;

fn windows(path: &Path) -> Result<Option<Windows>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Some(serde_json::from_str(&text).context("windows.json")?))
}

/// What `hsw detect --univariate` says of a series.
fn detect(task: &Task, name: &str) -> Result<Vec<f64>> {
    let (path, out) = (task.data.join("series").join(name), task.out.join(name));
    let univariate = |command: &mut Command| {
        command.arg("--univariate");
    };
    judged(&path, univariate, &out, |_, _| {})
}
