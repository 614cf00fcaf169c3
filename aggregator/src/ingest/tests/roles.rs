//! Roles in the interaction graph, as agents hear of them. (step 6)

use hsw_types::{EdgeKind, EdgeSubject};
use hsw_wire::{ToAgent, ToAggregator};

use super::*;

impl Agent {
    async fn speaks(&mut self, highest: u8) {
        self.say(&ToAggregator::Hello {
            versions: (1, highest),
            incarnation: 1,
            agent_version: "test".to_owned(),
        })
        .await;
        let welcome = self.hear().await;
        assert!(matches!(welcome, ToAgent::Welcome { version, .. } if version == highest.min(3)));
    }

    /// Says that these clients hold sessions.
    async fn has_clients(&mut self, clients: &[u8]) {
        let mut told = summary(1);
        told.dictionary.clear();
        told.series.clear();
        for (at, client) in clients.iter().enumerate() {
            let edge = EdgeSubject {
                kind: EdgeKind::Client,
                peer: format!("10.0.0.{client}"),
                port: 0,
                user: String::new(),
                application: String::new(),
                database: String::new(),
            };
            let id = SeriesId(u32::try_from(at).unwrap());
            let key = SeriesKey::edge("edge.sessions", edge);
            told.dictionary.push(SeriesDef { id, key });
            let values = vec![None, Some(1.0)];
            told.series.push(SeriesValues { id, values });
        }
        let payload = hsw_wire::encode_summary(&told).unwrap();
        let sequence = 1;
        self.say(&ToAggregator::Summary { sequence, payload }).await;
    }
}

#[tokio::test]
async fn an_agent_hears_whether_it_is_a_landmark_once_and_older_ones_hear_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Stage::config(dir.path());
    config.open = true;
    let service = Service::start(&config).unwrap();
    let stage = Stage { dir, service };
    let mut landmark = stage.agent("shard-1-a").await;
    let mut other = stage.agent("shard-2-a").await;
    landmark.speaks(4).await;
    other.speaks(3).await;
    // Its clients are twins and stay together; the node is the best connected of its component, which keeps one landmark.
    landmark.has_clients(&[1, 2, 3]).await;
    for (agent, expected) in [(&mut landmark, true), (&mut other, false)] {
        let told = loop {
            match agent.hear().await {
                ToAgent::Ack { .. } => {}
                ToAgent::Role { is_landmark } => break is_landmark,
                message => panic!("{message:?}"),
            }
        };
        assert_eq!(told, expected);
    }
    let mut older = stage.agent("shard-2-a").await;
    older.speaks(2).await;
    let silence = timeout(Duration::from_secs(7), async {
        let mut header = [0; FRAME_HEADER_BYTES];
        older.recv.read_exact(&mut header).await
    });
    assert!(
        silence.await.is_err(),
        "a version 2 peer is told nothing of roles"
    );
    let again = timeout(Duration::from_millis(100), async {
        let mut header = [0; FRAME_HEADER_BYTES];
        landmark.recv.read_exact(&mut header).await
    });
    assert!(again.await.is_err(), "told once, until it changes");
    let snapshot = Arc::clone(&stage.service.shared.snapshot.borrow());
    let roles: Vec<_> = snapshot
        .agents
        .iter()
        .map(|view| view.is_landmark)
        .collect();
    assert_eq!(roles, [Some(true), None]);
}
