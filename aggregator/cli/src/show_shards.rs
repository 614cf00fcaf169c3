//! `hsw shards` for people. (step 15)

use std::fmt::Write as _;

use serde_json::Value;

use crate::show::{Paint, Table, clean, duration, list};

/// `hsw shards`.
#[must_use]
pub(crate) fn shards(answer: &Value, paint: Paint) -> String {
    let mut table = Table::new(&[
        "SHARD", "HEALTH", "SCORE", "P(SICK)", "NODE", "ROLE", "STATE", "LAG",
    ]);
    for shard in list(answer, "shards") {
        let (name, health) = (clean(&shard["shard"]), clean(&shard["health"]));
        let score = score(shard);
        let sick = shard["judgement"]["probability"].as_f64();
        let sick = sick.map_or_else(|| "–".to_owned(), |sick| format!("{sick:.3}"));
        let nodes = list(shard, "nodes");
        for (at, node) in nodes.iter().enumerate() {
            let first = |text: &str| {
                if at == 0 {
                    text.to_owned()
                } else {
                    String::new()
                }
            };
            let lag = node["lag_s"]
                .as_f64()
                .map_or_else(|| "–".to_owned(), duration);
            let state = clean(&node["liveness"]).replace('_', " ");
            table.row(
                &health,
                vec![
                    first(&name),
                    first(&health),
                    first(&score),
                    first(&sick),
                    clean(&node["node"]),
                    clean(&node["role"]),
                    state,
                    lag,
                ],
            );
        }
        if nodes.is_empty() {
            let none = || "–".to_owned();
            table.row(
                &health,
                vec![
                    name,
                    health.clone(),
                    score,
                    sick,
                    none(),
                    none(),
                    "never seen".to_owned(),
                    none(),
                ],
            );
        }
    }
    table.text(
        paint,
        "no shard is known yet: a shard appears when its agent connects\n",
    )
}

/// The HyperScore with its form, without which the number means nothing; a shard that is alive and has none is still being learned.
fn score(shard: &Value) -> String {
    if let Some(score) = shard["hyperscore"].as_f64() {
        return format!("{score:.1} {}", clean(&shard["hyperscore_mode"]));
    }
    let mut nodes = list(shard, "nodes").iter();
    let word = if nodes.any(|node| node["liveness"] == "alive") {
        "warming up"
    } else {
        "–"
    };
    word.to_owned()
}

/// What the detectors said of an incident's root when they said most: p-values and weights, rarest first.
pub(crate) fn detectors(text: &mut String, judgement: &Value) {
    let Some(probability) = judgement["probability"].as_f64() else {
        return;
    };
    let _ = writeln!(text, "\nDetectors, rarest first (P(sick) {probability:.3})");
    let mut said: Vec<(f64, &Value)> = list(judgement, "detectors")
        .iter()
        .filter_map(|one| Some((one["p"].as_f64()?, one)))
        .collect();
    said.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (p, one) in said {
        let weight = one["weight"].as_f64().unwrap_or(0.0) * 100.0;
        let _ = writeln!(
            text,
            "  {:<13} p {p:.1e}, weight {weight:.0} %",
            clean(&one["detector"])
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn a_table_aligns_its_columns_and_a_score_wears_its_form() {
        let answer = json!({ "shards": [
            { "shard": "router", "health": "unknown", "hyperscore": null, "hyperscore_mode": "centred", "nodes": [
                { "node": "router-a", "role": "router", "liveness": "alive", "lag_s": 2.1 }] },
            { "shard": "shard-2", "health": "unknown", "hyperscore": null, "hyperscore_mode": "centred", "nodes": [
                { "node": "shard-2-a", "role": "primary", "liveness": "agent_lost", "lag_s": null }] },
            { "shard": "shard-3", "health": "bad", "hyperscore": 100.24, "hyperscore_mode": "centred", "judgement": { "probability": 0.9731 }, "nodes": [
                { "node": "shard-3-a", "role": "primary", "liveness": "database_silent", "lag_s": 0.4 },
                { "node": "shard-3-b", "role": "replica", "liveness": "alive", "lag_s": null }] },
        ]});
        expect![[r#"
            SHARD    HEALTH   SCORE          P(SICK)  NODE       ROLE     STATE            LAG
            router   unknown  warming up     –        router-a   router   alive            2 s
            shard-2  unknown  –              –        shard-2-a  primary  agent lost       –
            shard-3  bad      100.2 centred  0.973    shard-3-a  primary  database silent  400 ms
                                                      shard-3-b  replica  alive            –
        "#]]
        .assert_eq(&shards(&answer, Paint(false)));
    }

    #[test]
    fn detectors_are_told_rarest_first_and_those_that_do_not_know_not_at_all() {
        let mut text = String::new();
        detectors(&mut text, &json!(null));
        assert_eq!(text, "");
        let judgement = json!({ "probability": 0.9731, "detectors": [
            { "detector": "own_past", "p": 0.004, "weight": 0.25 },
            { "detector": "siblings", "p": 2.5e-9, "weight": 0.75 },
            { "detector": "modes", "p": null, "weight": 0.0 },
        ]});
        detectors(&mut text, &judgement);
        expect![[r#"

            Detectors, rarest first (P(sick) 0.973)
              siblings      p 2.5e-9, weight 75 %
              own_past      p 4.0e-3, weight 25 %
        "#]]
        .assert_eq(&text);
    }
}
