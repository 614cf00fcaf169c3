//! How fast statements are fingerprinted: `cargo run --release -p hsw-pipeline --example fingerprint_speed`.

#![expect(clippy::print_stdout, reason = "prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "measures time")]

use std::hint::black_box;
use std::time::Instant;

use hsw_pipeline::{Dialect, Fingerprinter};

/// Statements as an application sends them, short to long.
const STATEMENTS: [&str; 6] = [
    "SELECT abalance FROM pgbench_accounts WHERE aid = 4711",
    "UPDATE orders SET state = 'shipped', shipped_at = '2026-11-20 17:50:48' WHERE id = 8812 AND customer_id IN (1, 2, 3)",
    "INSERT INTO events (id, kind, payload, created_at) VALUES (1, 'click', '{\"page\": \"/start\", \"ms\": 12}', now()), \
     (2, 'view', '{\"page\": \"/shop/basket?item=5\", \"ms\": 7}', now())",
    "SELECT o.id, o.total, c.name, c.email FROM orders o JOIN customers c ON c.id = o.customer_id \
     WHERE o.created_at > now() - interval '7 days' AND c.country = 'DE' AND o.total BETWEEN 10 AND 500 \
     ORDER BY o.created_at DESC LIMIT 50 OFFSET 100",
    "/* app:checkout */ select count(*) from \"line_items\" where \"order_id\" = 99 -- basket\n and quantity > 1",
    "SELECT date_trunc('hour', created_at), count(*), avg(total) FROM orders WHERE shop_id = 12 AND region <> 'x' \
     GROUP BY date_trunc('hour', created_at) HAVING count(*) > 10 ORDER BY 1",
];

fn main() {
    let n_bytes: usize = STATEMENTS.iter().map(|sql| sql.len()).sum();
    for dialect in [Dialect::MySql, Dialect::PostgreSql] {
        let mut fingerprinter = Fingerprinter::new(dialect);
        let mut best = 0.0_f64;
        for _ in 0..7 {
            let began = Instant::now();
            let n_rounds = 50_000;
            for _ in 0..n_rounds {
                for sql in STATEMENTS {
                    black_box(fingerprinter.fingerprint(black_box(sql)));
                }
            }
            let mib = (n_bytes * n_rounds) as f64 / (1024.0 * 1024.0);
            best = best.max(mib / began.elapsed().as_secs_f64());
        }
        println!("{dialect:?}: {best:.0} MiB/s");
    }
}
