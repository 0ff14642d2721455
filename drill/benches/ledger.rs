//! The ledger checker at 1 and 10 million operations: how long it takes, that this is linear, and what memory it needs.
//!
//! Acceptance: 10 million operations in at most 2 s and at most 100 bytes of memory an operation for the ledger and the
//! checker's own structures. The recovered rows come on top and are printed beside it.
//! The work is linear; the large history is somewhat slower per operation because less of it fits into caches.
//! `cargo bench --bench ledger`.

use std::{
    fs,
    hint::black_box,
    mem::size_of_val,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use drill::{
    ledger::{
        Answered, AttachmentRow, AuditRow, Called, History, KeyRow, Operation, OperationKind, PgTime, Recovered,
        SeedFacts, SeededKey, VersionRow,
    },
    verify::ledger::{Comparison, Recovery, Target, compare},
};

const SEEDED: i64 = 1_000;
/// Operations under way at the same time.
const OVERLAP: u64 = 16;
/// Operations at the end that the recovery loses.
const LOST: usize = 1_000;

fn main() {
    if !is_meant(&["ledger"]) {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    // Without `--bench` this is a test run: only that it works.
    let divisor = if std::env::args().any(|argument| argument == "--bench") {
        1
    } else {
        100
    };
    // The large one first: its working memory must not come from what another left behind.
    let large = bench(&mut criterion, 10_000_000 / divisor, Duration::from_secs(12), true);
    let small = bench(&mut criterion, 1_000_000 / divisor, Duration::from_secs(4), false);
    println!(
        "ten times the operations take {:.1} times as long",
        large.as_secs_f64() / small.as_secs_f64()
    );
    criterion.final_summary();
}

/// Whether the command line names another bench than this one: `cargo bench -- NAME` starts them all.
fn is_meant(names: &[&str]) -> bool {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    filter.is_none_or(|filter| names.iter().any(|name| name.contains(&filter)))
}

/// Measures one size and returns the best of three single runs.
fn bench(criterion: &mut Criterion, size: usize, patience: Duration, with_memory: bool) -> Duration {
    let input = Input::synthesise(size);
    let ledger = size_of_val(input.history.operations.as_slice()) as f64 / size as f64;
    let rows = input.row_bytes() as f64 / size as f64;
    println!("{size} operations: ledger {ledger:.1} bytes an operation, recovered rows {rows:.1}");

    let before = resident_bytes("VmRSS:");
    let reset = fs::write("/proc/self/clear_refs", "5").is_ok(); // VmHWM starts again from here
    let took = (0..3).map(|_| input.time()).min().unwrap_or_default();
    match (before, resident_bytes("VmHWM:")) {
        (Some(before), Some(peak)) if with_memory && reset => {
            let working = peak.saturating_sub(before) as f64 / size as f64;
            println!(
                "  working memory {working:.1} bytes an operation, with the ledger {:.1}",
                ledger + working
            );
        }
        _ if with_memory => println!("  working memory not measured: it needs Linux's /proc"),
        _ => {}
    }
    println!(
        "  {:.3} s, {:.1} million operations a second",
        took.as_secs_f64(),
        size as f64 / took.as_secs_f64() / 1e6
    );

    let mut group = criterion.benchmark_group("ledger");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .throughput(Throughput::Elements(size as u64));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(patience);
    group.bench_with_input(BenchmarkId::new("compare", size), &input, |bencher, input| {
        bencher.iter(|| black_box(input.compare()));
    });
    group.finish();
    took
}

/// A value of `/proc/self/status`.
fn resident_bytes(key: &str) -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

/// A history and the rows that it leaves behind, but for the last thousand operations.
struct Input {
    history: History,
    recovered: Recovered,
    seed: SeedFacts,
    failed_ns: u64,
}

impl Input {
    /// The mix of the live writers: a quarter new keys, half new versions, and any key may be next.
    fn synthesise(size: usize) -> Self {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut roll = move |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let mut keys: Vec<KeyRow> = (1..=SEEDED)
            .map(|id| KeyRow {
                id,
                current_version: 3,
                ..KeyRow::default()
            })
            .collect();
        let mut recovered = Recovered::default();
        recovered.versions.extend((1..=SEEDED).flat_map(|key| {
            (1..=3).map(move |version| VersionRow {
                key,
                version,
                content: 0,
                stored: 0,
                ..VersionRow::default()
            })
        }));
        let mut operations = Vec::with_capacity(size);
        recovered.audit.reserve_exact(size);
        for number in 1..=size as u64 {
            let answered = match roll(1_000) {
                0..20 => Answered::Rejected,
                20 => Answered::Indeterminate,
                _ => Answered::Acknowledged,
            };
            let (kind, mut key) = next(&keys, roll(100), roll(keys.len()));
            let (at, author) = (PgTime(number.cast_signed() * 10), Some(3));
            let facts = wrote(kind, &mut key, at);
            let version = key.current_version;
            let writes = !matches!(kind, OperationKind::SoftDelete | OperationKind::Restore);
            let content = if writes { u128::from(number) << 64 | 1 } else { 0 };
            operations.push(Operation {
                invoked_ns: number * 1_000,
                answered_ns: (number + 1 + roll(OVERLAP as usize) as u64) * 1_000 + 1,
                lsn_before: number * 300,
                lsn_after: (number + OVERLAP) * 300,
                content,
                facts,
                rows_at: at,
                key: key.id,
                version,
                writer: 3,
                kind,
                answered,
            });
            if answered != Answered::Acknowledged || operations.len() > size - LOST {
                continue;
            }
            recovered.audit.push(AuditRow {
                operation: number,
                key: key.id,
                version,
                kind: Some(kind),
                author,
                at,
            });
            match kind {
                OperationKind::Create | OperationKind::AddVersion => {
                    recovered.versions.push(VersionRow {
                        key: key.id,
                        version,
                        content,
                        stored: content,
                        author,
                        at,
                    });
                }
                OperationKind::Attach => {
                    recovered.attachments.push(AttachmentRow {
                        key: key.id,
                        operation: number,
                        content,
                        stored: content,
                        facts,
                        at,
                    });
                }
                OperationKind::SoftDelete | OperationKind::Restore => {}
            }
            match keys.get_mut(key.id as usize - 1) {
                Some(row) => *row = key,
                None => keys.push(key),
            }
        }
        recovered.keys = keys;
        recovered.sort();
        let seeded = |_| SeededKey {
            versions: 3,
            deleted: false,
            changed: PgTime(0),
        };
        Self {
            history: History {
                operations,
                ..History::default()
            },
            recovered,
            seed: SeedFacts {
                max_key: SEEDED,
                key: Box::new(seeded),
                called: Called {
                    key: "key",
                    content: "content",
                    facts: "facts",
                },
            },
            failed_ns: (size as u64 + OVERLAP + 2) * 1_000,
        }
    }

    fn compare(&self) -> Option<Comparison> {
        compare(
            &self.history,
            Some(&self.recovered),
            &self.seed,
            Recovery {
                target: Target::End,
                reached: None,
                backup: None,
                failed_ns: self.failed_ns,
            },
        )
        .ok()
    }

    fn time(&self) -> Duration {
        let started = Instant::now();
        let comparison = black_box(self.compare());
        let took = started.elapsed();
        let sound = comparison.is_some_and(|comparison| comparison.is_sound() && comparison.lost.count > 0);
        assert!(sound, "a healthy history was accused");
        took
    }

    fn row_bytes(&self) -> usize {
        let Recovered {
            audit,
            keys,
            versions,
            attachments,
            ..
        } = &self.recovered;
        size_of_val(audit.as_slice())
            + size_of_val(keys.as_slice())
            + size_of_val(versions.as_slice())
            + size_of_val(attachments.as_slice())
    }
}

/// What an operation writes beside its content and its time, and what that makes of its key's row.
fn wrote(kind: OperationKind, key: &mut KeyRow, at: PgTime) -> u64 {
    let updated = PgTime(at.0 + 1);
    match kind {
        OperationKind::Create => {
            (key.facts, key.created, key.updated) = (at.0.cast_unsigned(), at, at);
            return key.facts;
        }
        OperationKind::Attach => return at.0.cast_unsigned(),
        OperationKind::SoftDelete => key.deleted_at = at,
        OperationKind::Restore => key.deleted_at = PgTime(0),
        OperationKind::AddVersion => {}
    }
    key.updated = updated;
    updated.digest()
}

/// What is done next, and the key as it is afterwards, but for its times.
fn next(keys: &[KeyRow], roll: usize, owned: usize) -> (OperationKind, KeyRow) {
    let owned = keys[owned];
    let changed = |kind, current_version, deleted| {
        (
            kind,
            KeyRow {
                current_version,
                deleted,
                ..owned
            },
        )
    };
    if roll < 25 {
        let id = keys.len().cast_signed() as i64 + 1;
        let created = KeyRow {
            id,
            current_version: 1,
            ..KeyRow::default()
        };
        return (OperationKind::Create, created);
    }
    let version = owned.current_version;
    match (owned.deleted, roll) {
        (true, _) => changed(OperationKind::Restore, version, false),
        (_, 25..75) => changed(OperationKind::AddVersion, version + 1, false),
        (_, 75..88) => changed(OperationKind::SoftDelete, version, true),
        _ => changed(OperationKind::Attach, version, false),
    }
}
