//! Where this instance runs, as far as a stop has other consequences there. Instance metadata is polled for it, because
//! an instance can join an Auto Scaling group after its boot, and a spot instance can be reclaimed at any time.

use std::collections::BTreeSet;
use std::time::Duration;

use mc_idle::cloud::CloudEvent;
use mc_idle::cloud::metadata::{self, StopCaveat};
use mc_idle::jitter::jitter;
use mc_idle_rule::backoff;
use tokio::sync::mpsc;
use tokio::time;

use super::imds::{Imds, MetadataError};

/// The time between two queries of values that seldom change.
const AGAIN: Duration = Duration::from_mins(5);
/// The time between two queries whether EC2 reclaims a spot instance (EC2 user guide: every 5 seconds).
const NOTICE: Duration = Duration::from_secs(5);

/// Sends what it finds until the receiver of `news` is dropped.
pub async fn watch(news: mpsc::UnboundedSender<CloudEvent>) {
    let mut told = BTreeSet::new();
    // Also that there is no notice is told first: the agent before this one may have known of one.
    let mut told_of_notice = None;
    let mut failures = 0;
    loop {
        // A token is valid for hours, but a restarted metadata service may not know it.
        let imds = Imds::new();
        let found = look(&imds).await;
        failures = if found.is_ok() { 0 } else { failures + 1 };
        let wait = if found.is_ok() { AGAIN } else { backoff::wait(failures, jitter()) };
        for caution in found.unwrap_or_default() {
            if told.insert(caution) && news.send(CloudEvent::StopCaveat(caution)).is_err() {
                return;
            }
        }
        if news.is_closed() {
            return;
        }
        let again = time::sleep(wait);
        if told.contains(&StopCaveat::Spot) {
            tokio::select! {
                () = again => {}
                () = watch_notices(&imds, &mut told_of_notice, &news) => return,
            }
        } else {
            again.await;
        }
    }
}

async fn look(imds: &Imds) -> Result<BTreeSet<StopCaveat>, MetadataError> {
    let spot = imds.get("/latest/meta-data/instance-life-cycle", "life cycle", metadata::is_spot).await?;
    let replaced = imds
        .get_if_there("/latest/meta-data/autoscaling/target-lifecycle-state", "lifecycle state", metadata::is_replaced)
        .await?;
    let instance_store = imds
        .get_if_there("/latest/meta-data/ami-manifest-path", "manifest path", metadata::is_on_instance_store)
        .await?;
    let cautions = [
        (spot, StopCaveat::Spot),
        (replaced == Some(true), StopCaveat::AutoScalingGroup),
        (instance_store == Some(true), StopCaveat::InstanceStoreRoot),
    ];
    Ok(cautions.into_iter().filter_map(|(is_so, caution)| is_so.then_some(caution)).collect())
}

/// Returns only when the receiver of `news` is dropped. A query without an answer changes nothing.
async fn watch_notices(imds: &Imds, told: &mut Option<CloudEvent>, news: &mpsc::UnboundedSender<CloudEvent>) {
    loop {
        let answer = imds.get_if_there("/latest/meta-data/spot/instance-action", "notice", metadata::notice).await;
        if let Ok(latest) = answer
            && let event = CloudEvent::Reclaim(latest)
            && told.as_ref() != Some(&event)
        {
            *told = Some(event.clone());
            if news.send(event).is_err() {
                return;
            }
        }
        time::sleep(NOTICE).await;
    }
}
