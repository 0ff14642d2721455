//! What the faults of a drill share.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;

use super::Desk;
use crate::{
    fault::{
        Mending,
        clock::SteppedClock,
        service::{app::AppFaults, config_store::StoreFaults},
    },
    scenario::FaultTarget,
};

/// What was broken, what can be, and how it is mended.
pub struct Injector {
    /// Random choices of faults.
    pub random: StdRng,
    /// Numbers of the faults that were injected already.
    pub injected: BTreeSet<u32>,
    /// The file of each relation that a fault names, relative to the data directory.
    pub relations: BTreeMap<String, String>,
    /// What befalls the application.
    pub app_faults: AppFaults,
    /// What befalls the configuration store.
    pub store_faults: StoreFaults,
    /// How what was broken is mended at the end, in the order in which it was broken.
    pub mending: Vec<(FaultTarget, Mending)>,
    /// What the source's clock is stepped by, if a fault steps it.
    pub clock: Option<SteppedClock>,
}

impl Injector {
    /// Nothing is broken yet.
    pub fn new(random: StdRng, clock: Option<SteppedClock>) -> Self {
        Self {
            random,
            injected: BTreeSet::new(),
            relations: BTreeMap::new(),
            app_faults: AppFaults::default(),
            store_faults: StoreFaults::default(),
            mending: Vec::new(),
            clock,
        }
    }

    /// Mends what faults broke around the database, the newest first, and records that.
    pub async fn mend(&mut self, desk: &Desk) {
        for (target, mending) in std::mem::take(&mut self.mending).into_iter().rev() {
            let mended = mending.await;
            if matches!(mended, Ok(Some(0))) {
                let text =
                    format!("What was done to the service {target} was never met: the drill says nothing about it.");
                desk.recorder.finding(text);
            }
            let mended = mended.map(|_| "it behaves as it should again");
            desk.undone(&format!("fault of service {target}"), mended);
        }
    }
}
