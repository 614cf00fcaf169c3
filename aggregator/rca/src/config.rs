//! The constants of the ranking, in one place so that each can be swept. (step 12)

/// What the ranking weighs by. The defaults are what runs; other values are for sweeps and tests.
///
/// Each was swept alone over all cases of petshop (20, six groups), rcd (30, with the onset given in time and 60 s late) and
/// nezha_tt (17) together, with `hsw rca --set`. Every case is answered right with the defaults, and within the range that a
/// field names; beyond it, where a second range is named, at most two cases are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Smallest scale of a metric, as a share of its median. 0.01–0.1; 0.15.
    pub floor: f64,
    /// Smallest scale of a metric of resources or work, as a share of what is usual of it over all entities: what an idle
    /// one does matters to nobody. 0–0.1.
    pub peers: f64,
    /// Nats that are no news: ln(1 + 3²), three standard deviations. 1.5–3.5; 1.
    pub noise: f64,
    /// Share of the abnormal rows that is looked at, the worst: a region is often drawn too wide. 0.25–0.5; 0.75.
    pub worst: f64,
    /// What reaches a caller of what a callee shows. 0.4–1.
    pub passed: f64,
    /// What a caller that shows nothing passes on, as a share of that. 0–1.
    pub silent: f64,
    /// How much of its calls' slowness an entity's own answers inherit. 0–1.
    pub passed_on: f64,
    /// Calm callers every mean of complaints is given. 0–2.
    pub few_callers: f64,
    /// What counts of a score that explains nothing where the trouble was noticed. 0–0.7.
    pub elsewhere: f64,
    /// Weight of effects: of the work that arrives. 0–1.
    pub effect: f64,
    /// Weight of metrics whose names say nothing. 0–1.
    pub unknown: f64,
    /// Weight of new and missing kinds of log lines and of spans. 0.25–1.5; 2.
    pub lines: f64,
    /// Nats of a mean over spans that are no news. 0–2.5.
    pub span_noise: f64,
    /// Weight of slow calls for the caller, beside 1 for the callee: a sick callee explains its callers. 0.25–1.
    pub outward: f64,
    /// Rows by which clocks may differ. 0–5.
    pub clock_rows: usize,
    /// What counts of an explanation when the symptom began before the cause. 0–1.
    pub late: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            floor: 0.05,
            peers: 0.02,
            noise: std::f64::consts::LN_10,
            worst: 0.5,
            passed: 0.65,
            silent: 0.3,
            passed_on: 1.0,
            few_callers: 0.5,
            elsewhere: 0.2,
            effect: 0.3,
            unknown: 0.5,
            lines: 1.0,
            span_noise: 1.5,
            outward: 0.5,
            clock_rows: 2,
            late: 0.5,
        }
    }
}

impl Config {
    /// Sets one by its name; false where there is none of that name.
    #[must_use]
    pub fn set(&mut self, name: &str, value: f64) -> bool {
        let field = match name {
            "floor" => &mut self.floor,
            "peers" => &mut self.peers,
            "noise" => &mut self.noise,
            "worst" => &mut self.worst,
            "passed" => &mut self.passed,
            "silent" => &mut self.silent,
            "passed_on" => &mut self.passed_on,
            "few_callers" => &mut self.few_callers,
            "elsewhere" => &mut self.elsewhere,
            "effect" => &mut self.effect,
            "unknown" => &mut self.unknown,
            "lines" => &mut self.lines,
            "span_noise" => &mut self.span_noise,
            "outward" => &mut self.outward,
            "late" => &mut self.late,
            "clock_rows" => {
                self.clock_rows = value.max(0.0) as usize;
                return true;
            }
            _ => return false,
        };
        *field = value;
        true
    }
}
