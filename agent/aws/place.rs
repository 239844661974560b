//! Where this instance runs, as far as a stop means something else there: asked of instance metadata, again and again,
//! because an instance joins an Auto Scaling group after its boot, and a spot instance is taken back at any time.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time;

use super::imds::{Imds, MetadataError};
use crate::cloud::News;
use crate::idle::backoff;
use crate::jitter::jitter;
use crate::metadata::{self, Caution, Notice};

/// The time between two looks at what seldom changes.
const AGAIN: Duration = Duration::from_mins(5);
/// The time between two questions whether EC2 takes a spot instance back (EC2 user guide: every 5 seconds).
const NOTICE: Duration = Duration::from_secs(5);

/// Tells what is so until nobody listens to `news` any more.
pub async fn watch(news: mpsc::UnboundedSender<News>) {
    let mut told = BTreeSet::new();
    let mut notice = None;
    let mut failures = 0;
    loop {
        // A token is good for hours; a metadata service that has come back may not know it.
        let imds = Imds::new();
        let found = look(&imds).await;
        failures = if found.is_ok() { 0 } else { failures + 1 };
        let wait = if found.is_ok() { AGAIN } else { backoff::wait(failures, jitter()) };
        for caution in found.unwrap_or_default() {
            if told.insert(caution) && news.send(News::Caution(caution)).is_err() {
                return;
            }
        }
        if news.is_closed() {
            return;
        }
        let again = time::sleep(wait);
        if told.contains(&Caution::Spot) {
            tokio::select! {
                () = again => {}
                () = watch_notices(&imds, &mut notice, &news) => return,
            }
        } else {
            again.await;
        }
    }
}

async fn look(imds: &Imds) -> Result<BTreeSet<Caution>, MetadataError> {
    let spot = imds.get("/latest/meta-data/instance-life-cycle", "life cycle", metadata::is_spot).await?;
    let replaced = imds
        .get_if_there("/latest/meta-data/autoscaling/target-lifecycle-state", "lifecycle state", metadata::is_replaced)
        .await?;
    let instance_store = imds
        .get_if_there("/latest/meta-data/ami-manifest-path", "manifest path", metadata::is_on_instance_store)
        .await?;
    let cautions = [
        (spot, Caution::Spot),
        (replaced == Some(true), Caution::AutoScalingGroup),
        (instance_store == Some(true), Caution::InstanceStoreRoot),
    ];
    Ok(cautions.into_iter().filter_map(|(is_so, caution)| is_so.then_some(caution)).collect())
}

/// Ends only when nobody listens to `news` any more. A question that is not answered changes nothing.
async fn watch_notices(imds: &Imds, notice: &mut Option<Notice>, news: &mpsc::UnboundedSender<News>) {
    loop {
        let answer = imds.get_if_there("/latest/meta-data/spot/instance-action", "notice", metadata::notice).await;
        if let Ok(latest) = answer
            && latest != *notice
        {
            notice.clone_from(&latest);
            if news.send(News::Reclaim(latest)).is_err() {
                return;
            }
        }
        time::sleep(NOTICE).await;
    }
}
