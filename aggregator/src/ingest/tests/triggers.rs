//! Messages about triggers, as an agent sees them. (step 6)

use hsw_wire::{RefusalCode, ToAgent, ToAggregator, TriggerDown, TriggerUp, TriggerWhy};
use tokio::time::timeout;

use super::{Agent, PATIENCE, Stage};
use crate::Service;
use crate::triggers::Spec;

impl Agent {
    /// Says hello in version 2, is welcome, greets as a participant.
    async fn greet(&mut self, epoch: u64) {
        self.say(&ToAggregator::Hello {
            versions: (1, 2),
            incarnation: 1,
            agent_version: "test".to_owned(),
        })
        .await;
        let welcome = self.hear().await;
        assert!(matches!(welcome, ToAgent::Welcome { version: 2, .. }));
        let hello = TriggerUp::Hello { epoch };
        self.say(&ToAggregator::Triggers(vec![hello])).await;
    }

    /// The trigger it is asked to count for, and in which round.
    async fn watch(&mut self) -> (u64, u64) {
        loop {
            let ToAgent::Triggers(list) = self.hear().await else {
                panic!("not about triggers");
            };
            for message in list {
                match message {
                    TriggerDown::Watch { query, round, .. } => return (query, round),
                    TriggerDown::Collect { query, round } => {
                        self.report(query, 5, round, 0, TriggerWhy::Answer).await;
                    }
                    _ => {}
                }
            }
        }
    }

    async fn report(&mut self, query: u64, epoch: u64, round: u64, count: u64, why: TriggerWhy) {
        let report = TriggerUp::Report {
            query,
            epoch,
            round,
            count,
            why,
        };
        self.say(&ToAggregator::Triggers(vec![report])).await;
    }
}

fn slow(count: u64) -> Spec {
    Spec {
        name: "slow".to_owned(),
        on: "latency_ms".to_owned(),
        range: "100..".to_owned(),
        count,
        weight: String::new(),
        shards: Vec::new(),
        wanted: Default::default(),
        severity: Default::default(),
        again: false,
    }
}

#[tokio::test]
async fn a_trigger_of_the_configuration_fires_by_what_an_agent_of_version_2_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Stage::config(dir.path());
    config.trigger = vec![slow(50)];
    let service = Service::start(&config).unwrap();
    let stage = Stage { dir, service };
    let mut old = stage.agent("shard-1-a").await;
    old.hello(1).await;
    old.welcome().await;
    old.say(&ToAggregator::Triggers(vec![TriggerUp::Hello { epoch: 5 }]))
        .await;
    assert_eq!(old.refusal().await.0, RefusalCode::Malformed);

    let mut agent = stage.agent("shard-1-a").await;
    agent.greet(5).await;
    let (query, round) = agent.watch().await;
    let mut snapshots = stage.service.shared.snapshot.clone();
    agent.report(query, 5, round, 50, TriggerWhy::Signal).await;
    let fired = timeout(PATIENCE, async {
        loop {
            let fired = snapshots.borrow().triggers.first().and_then(|t| t.fired);
            match fired {
                Some((_, count)) => return count,
                None => snapshots.changed().await.unwrap(),
            }
        }
    });
    assert_eq!(fired.await.unwrap(), 50);
    stage.service.stop().await.unwrap();
}

#[tokio::test]
async fn what_an_agent_tells_just_before_both_sides_stop_is_known_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Stage::config(dir.path());
    config.trigger = vec![slow(50)];
    let service = Service::start(&config).unwrap();
    let stage = Stage { dir, service };
    let mut agent = stage.agent("shard-1-a").await;
    agent.greet(5).await;
    let (query, round) = agent.watch().await;
    agent.report(query, 5, round, 30, TriggerWhy::Signal).await;
    agent.say(&ToAggregator::Goodbye).await;
    agent.connection.closed().await;
    let Stage { dir, service } = stage;
    service.stop().await.unwrap();

    let service = Service::start(&config).unwrap();
    let mut snapshots = service.shared.snapshot.clone();
    let known = timeout(PATIENCE, async {
        while snapshots.borrow().triggers.is_empty() {
            snapshots.changed().await.unwrap();
        }
        snapshots.borrow().triggers[0].known
    });
    assert_eq!(known.await.unwrap(), 30);
    service.stop().await.unwrap();
    drop(dir);
}
