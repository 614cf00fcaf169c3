//! scratch
#![allow(clippy::all, missing_docs, unused)]
use hsw_cli::offline::table::{Table, Values};
use hsw_explain as e;
use std::collections::BTreeMap;
use std::path::Path;
struct Case {
    id: String,
    cause: String,
    group: String,
    variant: i64,
    table: Table,
    regions: e::Regions,
}
fn load(set: &Path) -> Vec<Case> {
    let mut truth = BTreeMap::new();
    for l in std::fs::read_to_string(set.join("truth.jsonl"))
        .unwrap()
        .lines()
    {
        let v: serde_json::Value = serde_json::from_str(l).unwrap();
        truth.insert(v["id"].as_str().unwrap().to_owned(), v);
    }
    std::fs::read_to_string(set.join("cases.jsonl"))
        .unwrap()
        .lines()
        .map(|l| {
            let v: serde_json::Value = serde_json::from_str(l).unwrap();
            let id = v["id"].as_str().unwrap().to_owned();
            let table = Table::read(&set.join(v["file"].as_str().unwrap())).unwrap();
            let flags = |k: &str| {
                let mut f = vec![false; table.n_rows];
                for r in v[k].as_array().unwrap() {
                    for i in r[0].as_u64().unwrap()..=r[1].as_u64().unwrap() {
                        f[i as usize] = true;
                    }
                }
                f
            };
            let regions = e::Regions::new(&flags("abnormal"), &flags("normal"));
            let t = &truth[&id];
            Case {
                cause: t["truth"][0].as_str().unwrap().to_owned(),
                group: t["group"].as_str().unwrap().to_owned(),
                variant: t["variant"].as_i64().unwrap_or(0),
                id,
                table,
                regions,
            }
        })
        .collect()
}
fn columns<'a>(t: &'a Table, drop_counters: bool) -> Vec<e::Column<'a>> {
    t.columns
        .iter()
        .map(|c| match &c.values {
            Values::Numbers(n) => e::Column::numbers(&c.name, n),
            Values::Categories { levels, codes } => e::Column::categories(&c.name, levels, codes),
        })
        .filter(|c| !drop_counters || !c.name.starts_with("dbmsCum"))
        .collect()
}

fn rank(
    cases: &[Case],
    sums: &[e::Case],
    train: &dyn Fn(&Case) -> bool,
    test: &dyn Fn(&Case) -> bool,
    drop: bool,
) -> (f64, f64, usize, Vec<String>) {
    let t: Vec<(&str, &e::Case)> = cases
        .iter()
        .zip(sums)
        .filter(|(c, _)| train(c))
        .map(|(c, s)| (c.cause.as_str(), s))
        .collect();
    let j = e::Judge::learn(&t);
    let (mut a, mut b, mut n) = (0, 0, 0);
    let mut w = vec![];
    for (c, s) in cases.iter().zip(sums) {
        if !test(c) {
            continue;
        }
        n += 1;
        let v = j.judge(s);
        let r: Vec<&str> = v
            .ranked
            .iter()
            .map(|x| x.0.as_str())
            .filter(|x| !drop || *x != e::NONE)
            .collect();
        a += usize::from(r[0] == c.cause);
        b += usize::from(r[..2].contains(&c.cause.as_str()));
        if r[0] != c.cause {
            w.push(format!("{}->{}", c.cause, r[0]));
        }
    }
    (a as f64 / n as f64, b as f64 / n as f64, n, w)
}
fn main() {
    let which = std::env::args().nth(1).unwrap_or("s".into());
    if which == "d" {
        let cases = load(Path::new("/tmp/hsw-data/dbpa"));
        let sums: Vec<_> = cases
            .iter()
            .map(|c| e::Case::new(&columns(&c.table, false), &c.regions))
            .collect();
        for (a, b) in [("32_256", "64_128"), ("64_128", "32_256")] {
            let t = std::time::Instant::now();
            let r = rank(&cases, &sums, &|c| c.group == a, &|c| c.group == b, false);
            println!("{b} {:.3} {:.3} {} {:?}", r.0, r.1, r.2, t.elapsed());
            let mut m: BTreeMap<String, usize> = BTreeMap::new();
            for x in r.3 {
                *m.entry(x).or_default() += 1;
            }
            println!("{m:?}");
        }
        return;
    }
    if which == "r" {
        let cases = load(Path::new("/tmp/hsw-data/dbsherlock"));
        for search in [e::Search::Scan, e::Search::Ours] {
            let t = std::time::Instant::now();
            let (mut all, mut by) = (0., BTreeMap::<String, f64>::new());
            for c in &cases {
                let cols = columns(&c.table, false);
                let f = e::find(&cols, c.table.n_rows, search).unwrap();
                let truth: Vec<usize> = c
                    .regions
                    .abnormal()
                    .iter()
                    .flat_map(|r| r.clone())
                    .collect();
                let i = truth.iter().filter(|x| f.contains(x)).count();
                let u = truth.len() + f.len() - i;
                let iou = i as f64 / u as f64;
                all += iou;
                *by.entry(c.cause.clone()).or_default() += iou / 6.;
            }
            println!("{search:?} {:.3} {by:.2?} {:?}", all / 60., t.elapsed());
        }
        return;
    }
    if which == "p" {
        let cases = load(Path::new("/tmp/hsw-data/dbsherlock"));
        let cols: Vec<_> = cases.iter().map(|c| columns(&c.table, false)).collect();
        let score = |name: &str, f: &dyn Fn(&[e::Column<'_>], &e::Regions) -> Vec<e::Predicate>| {
            let (mut f1, mut k) = (0., 0);
            for (c, col) in cases.iter().zip(&cols) {
                let p = f(col, &c.regions);
                k += p.len();
                let s = e::Spaces::new(col, &c.regions, 500);
                let refs = [&p[..]];
                let m = e::CausalModel::merge("x", &refs, -1.0, e::Method::Paper);
                let x = m.fit(&s);
                let (a, b) = (x.precision, x.recall);
                if a + b > 0. {
                    f1 += 2. * a * b / (a + b);
                }
            }
            println!(
                "{name} F1 {:.3} mean predicates {:.1}",
                f1 / 60.,
                k as f64 / 60.
            );
        };
        score("paper .2", &|c, r| {
            e::published(
                c,
                r,
                &e::Config {
                    theta: 0.2,
                    ..Default::default()
                },
                e::Method::Paper,
            )
            .into_iter()
            .filter(|p| p.shift > 0.2)
            .collect()
        });
        score("code .2", &|c, r| {
            e::published(
                c,
                r,
                &e::Config {
                    theta: 0.2,
                    ..Default::default()
                },
                e::Method::Paper,
            )
            .into_iter()
            .filter(|p| p.shift_of_labels > 0.2)
            .collect()
        });
        score("ours", &|c, r| e::separating(c, r, 500));
        for n in [1, 3, 5, 10] {
            score("ours top", &|c, r| {
                e::separating(c, r, 500).into_iter().take(n).collect()
            });
        }
        let t = std::time::Instant::now();
        for (c, col) in cases.iter().zip(&cols) {
            std::hint::black_box(e::separating(col, &c.regions, 500));
        }
        println!("{:?}/case", t.elapsed() / 60);
        let t = std::time::Instant::now();
        for (c, col) in cases.iter().zip(&cols) {
            std::hint::black_box(e::published(
                col,
                &c.regions,
                &e::Config::default(),
                e::Method::Paper,
            ));
        }
        println!("{:?}/case", t.elapsed() / 60);
        return;
    }
    let cases = load(Path::new("/tmp/hsw-data/dbsherlock"));
    for c in &cases[..1] {
        println!(
            "counters {:?}",
            columns(&c.table, false)
                .iter()
                .filter(|c| c.is_difference)
                .map(|c| c.name)
                .collect::<Vec<_>>()
        );
    }
    let variants = [0, 2, 4, 6, 8, 10];
    let sums: Vec<_> = cases
        .iter()
        .map(|c| e::Case::new(&columns(&c.table, false), &c.regions))
        .collect();
    for sets in [
        variants.iter().map(|v| vec![*v]).collect::<Vec<_>>(),
        variants
            .iter()
            .map(|v| variants.iter().copied().filter(|w| w != v).collect())
            .collect(),
    ] {
        let mut s = (0., 0.);
        for set in &sets {
            let r = rank(
                &cases,
                &sums,
                &|c| set.contains(&c.variant),
                &|c| !set.contains(&c.variant),
                true,
            );
            s.0 += r.0;
            s.1 += r.1;
            for w in r.3 {
                println!("{set:?} {w}");
            }
        }
        println!(
            "ours train {} : {:.3} {:.3}",
            sets[0].len(),
            s.0 / 6.,
            s.1 / 6.
        );
    }

    let cols: Vec<_> = cases.iter().map(|c| columns(&c.table, true)).collect();
    let spaces: Vec<_> = cases
        .iter()
        .zip(&cols)
        .map(|(c, k)| e::Spaces::new(k, &c.regions, 500))
        .collect();

    for method in [e::Method::Code, e::Method::Paper] {
        for theta in [0.2, 0.05] {
            let config = e::Config::default();
            let preds: Vec<_> = cases
                .iter()
                .zip(&cols)
                .map(|(c, k)| e::published(k, &c.regions, &config, method))
                .collect();
            let run = |train: &[i64]| {
                let mut by: BTreeMap<&str, Vec<&[e::Predicate]>> = BTreeMap::new();
                for (c, p) in cases.iter().zip(&preds) {
                    if train.contains(&c.variant) {
                        by.entry(&c.cause).or_default().push(p);
                    }
                }
                let models: Vec<_> = by
                    .iter()
                    .map(|(c, p)| e::CausalModel::merge(c, p, theta, method))
                    .collect();
                let (mut t1, mut t2, mut n, mut f1, mut mg) = (0, 0, 0, 0., 0.);
                for (c, s) in cases.iter().zip(&spaces) {
                    if train.contains(&c.variant) {
                        continue;
                    }
                    n += 1;
                    let mut r: Vec<_> = models
                        .iter()
                        .map(|m| (m.fit(s), m.cause.as_str()))
                        .collect();
                    r.sort_by(|a, b| b.0.confidence.total_cmp(&a.0.confidence));
                    t1 += usize::from(r[0].1 == c.cause);
                    t2 += usize::from(r[..2].iter().any(|x| x.1 == c.cause));
                    let own = r.iter().find(|x| x.1 == c.cause).unwrap().0;
                    let other = r.iter().find(|x| x.1 != c.cause).unwrap().0;
                    mg += own.confidence - other.confidence;
                    let (p, q) = (own.precision, own.recall);
                    if p + q > 0. {
                        f1 += 2. * p * q / (p + q);
                    }
                }
                (
                    t1 as f64 / n as f64,
                    t2 as f64 / n as f64,
                    mg / n as f64,
                    f1 / n as f64,
                )
            };
            let avg = |sets: Vec<Vec<i64>>| {
                let r: Vec<_> = sets.iter().map(|s| run(s)).collect();
                let n = r.len() as f64;
                (
                    r.iter().map(|x| x.0).sum::<f64>() / n,
                    r.iter().map(|x| x.1).sum::<f64>() / n,
                    r.iter().map(|x| x.2).sum::<f64>() / n,
                    r.iter().map(|x| x.3).sum::<f64>() / n,
                )
            };
            println!(
                "{method:?} {theta} one {:.3?}",
                avg(variants.iter().map(|v| vec![*v]).collect())
            );
            println!(
                "{method:?} {theta} two {:.3?}",
                avg((0..6)
                    .flat_map(|i| (0..i).map(move |j| vec![variants[i], variants[j]]))
                    .collect())
            );
            println!(
                "{method:?} {theta} five {:.3?}",
                avg(variants
                    .iter()
                    .map(|v| variants.iter().copied().filter(|w| w != v).collect())
                    .collect())
            );
        }
    }
}
