//! AWS, as far as the launcher asks anything of it. Every call has a deadline, and every failure is a sentence.
//!
//! * [`ec2`]: what EC2 shows, starts, launches and stops.
//! * [`sdk_config`]: which credentials and endpoints the SDK uses.
//! * [`parameters`]: SSM. [`topic`]: SNS. [`zone`]: Route 53.

pub mod ec2;
pub mod parameters;
pub mod sdk_config;
pub mod topic;
pub mod zone;

use std::error::Error;
use std::fmt::Debug;

use aws_config::SdkConfig;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use mc_aws::clients;
use mc_aws::error_code::{ErrorClass, class, short};
use mc_service::error_chain::chain;
use tokio::sync::OnceCell;

/// AWS, in one region, with the credentials that the environment has.
#[derive(Debug)]
pub struct Aws {
    region: String,
    config: OnceCell<SdkConfig>,
    ec2: OnceCell<aws_sdk_ec2::Client>,
    ssm: OnceCell<aws_sdk_ssm::Client>,
}

impl Aws {
    /// Reads nothing yet: what a call needs is made when it is first made, or by [`Aws::prepare`].
    #[must_use]
    pub fn new(region: String) -> Self {
        Aws { region, config: OnceCell::new(), ec2: OnceCell::new(), ssm: OnceCell::new() }
    }

    /// Makes what the calls need, so that the first one does not wait for it.
    pub async fn prepare(&self) {
        tokio::join!(self.ec2(), self.ssm());
    }

    async fn config(&self) -> &SdkConfig {
        // On the heap: it is large, and needed once.
        self.config.get_or_init(async || Box::pin(sdk_config::load(&self.region)).await).await
    }

    async fn ec2(&self) -> &aws_sdk_ec2::Client {
        self.ec2.get_or_init(async || clients::ec2(self.config().await)).await
    }

    async fn ssm(&self) -> &aws_sdk_ssm::Client {
        self.ssm.get_or_init(async || clients::ssm(self.config().await)).await
    }
}

/// What `service` answered instead of what was asked for, in words. `action` is what the role has to be allowed then.
fn in_words<E, R>(service: &str, action: &str, error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    match error.code() {
        Some(code) if class(code) == ErrorClass::NotAllowed => {
            format!("{service} answered {code}: allow {action} in the policy of the launcher's role")
        }
        Some(code) => format!("{service} answered {code}: {}", short(error.message().unwrap_or_default())),
        None => format!("{service} did not answer: {}", short(&chain(error))),
    }
}
