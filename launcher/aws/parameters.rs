//! SSM: the parameters of one server.

use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use jiff::Timestamp;

use crate::aws::{Aws, in_words};
use crate::deadline::Deadline;
use mc_launcher_core::settings::Settings;
use mc_launcher_core::start::generation::Generation;

const SSM: &str = "SSM";
/// The folder of the generations.
const GENERATIONS: &str = "launch";

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub value: String,
    /// `LastModifiedDate`.
    pub modified: Timestamp,
    /// One more each time that it is written.
    pub version: i64,
}

/// The parameters of one server.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    aws: &'a Aws,
    settings: &'a Settings,
}

impl<'a> Parameters<'a> {
    /// Those below the prefix in `settings`.
    #[must_use]
    pub fn new(aws: &'a Aws, settings: &'a Settings) -> Self {
        Parameters { aws, settings }
    }

    /// The parameter `name`; `None`: there is none.
    ///
    /// # Errors
    /// SSM does not tell, with the reason.
    pub async fn get(&self, name: &str, deadline: Deadline) -> Result<Option<Parameter>, String> {
        let full = self.settings.parameter(name);
        let call = self.aws.ssm().await.get_parameter().name(&full).with_decryption(true);
        match deadline.limit(SSM, call.send()).await? {
            Ok(answer) => {
                let found = answer.parameter.ok_or_else(|| format!("SSM answered without the parameter {full}"))?;
                let modified = found.last_modified_date.and_then(|time| {
                    let nanoseconds = i32::try_from(time.subsec_nanos()).ok()?;
                    Timestamp::new(time.secs(), nanoseconds).ok()
                });
                match (found.value, modified) {
                    (Some(value), Some(modified)) => Ok(Some(Parameter { value, modified, version: found.version })),
                    _ => Err(format!("SSM answered without a value for {full}")),
                }
            }
            Err(error) if error.code() == Some("ParameterNotFound") => Ok(None),
            Err(error) => Err(in_words(SSM, &format!("ssm:GetParameter on {full}"), &error)),
        }
    }

    /// Writes the parameter `name`.
    ///
    /// # Errors
    /// SSM does not take it, with the reason.
    pub async fn put(&self, name: &str, value: String, deadline: Deadline) -> Result<(), String> {
        self.write(name, value, true, deadline).await.map(drop)
    }

    /// Writes the parameter `name`, which was read in `version` (0: there was none); `false`: somebody else has written it since.
    ///
    /// # Errors
    /// SSM does not tell, or does not take it, with the reason.
    pub async fn put_after(&self, name: &str, value: String, version: i64, deadline: Deadline) -> Result<bool, String> {
        if self.get(name, deadline).await?.map_or(0, |found| found.version) != version {
            return Ok(false);
        }
        // Two may have come so far at once; of their versions only one follows the one that was read.
        Ok(self.write(name, value, true, deadline).await? == Some(version + 1))
    }

    /// Creates the parameter `name`; `false`: there is one.
    ///
    /// # Errors
    /// SSM does not take it, with the reason.
    async fn create(&self, name: &str, value: String, deadline: Deadline) -> Result<bool, String> {
        self.write(name, value, false, deadline).await.map(|version| version.is_some())
    }

    /// The version that was written; `None`: there is a parameter of this name, which was not to be overwritten.
    async fn write(
        &self,
        name: &str,
        value: String,
        overwrite: bool,
        deadline: Deadline,
    ) -> Result<Option<i64>, String> {
        let full = self.settings.parameter(name);
        let call = self.aws.ssm().await.put_parameter().name(&full).value(value).overwrite(overwrite);
        let call = call.r#type(ParameterType::String).tier(ParameterTier::Standard);
        match deadline.limit(SSM, call.send()).await? {
            Ok(answer) => Ok(Some(answer.version)),
            Err(error) if error.code() == Some("ParameterAlreadyExists") && !overwrite => Ok(None),
            Err(error) => Err(in_words(SSM, &format!("ssm:PutParameter on {full}"), &error)),
        }
    }

    /// The highest generation.
    ///
    /// # Errors
    /// SSM does not tell, or what it tells is damaged, with the reason.
    pub async fn highest_generation(&self, deadline: Deadline) -> Result<Option<Generation>, String> {
        let folder = self.settings.parameter(GENERATIONS);
        let call = self.aws.ssm().await.get_parameters_by_path().path(&folder);
        let mut pages = call.into_paginator().send();
        let mut highest: Option<(u64, String)> = None;
        while let Some(page) = deadline.limit(SSM, pages.next()).await? {
            let allow = format!("ssm:GetParametersByPath on {folder}");
            let page = page.map_err(|error| in_words(SSM, &allow, &error))?;
            for found in page.parameters.unwrap_or_default() {
                let (Some(name), Some(value)) = (found.name, found.value) else { continue };
                let number = name.rsplit_once('/').and_then(|(_, number)| number.parse::<u64>().ok());
                // What has no number is not this program's.
                let Some(number) = number else { continue };
                if highest.as_ref().is_none_or(|(other, _)| *other < number) {
                    highest = Some((number, value));
                }
            }
        }
        highest.map(|(number, value)| Generation::parse(number, &value)).transpose()
    }

    /// Creates the parameter of `generation`; `false`: somebody else has created it.
    ///
    /// # Errors
    /// SSM does not take it, with the reason.
    pub async fn create_generation(&self, generation: &Generation, deadline: Deadline) -> Result<bool, String> {
        let name = format!("{GENERATIONS}/{}", generation.number);
        self.create(&name, generation.text(), deadline).await
    }

    /// Notes what `generation` is now.
    ///
    /// # Errors
    /// SSM does not take it, with the reason.
    pub async fn note_generation(&self, generation: &Generation, deadline: Deadline) -> Result<(), String> {
        self.put(&format!("{GENERATIONS}/{}", generation.number), generation.text(), deadline).await
    }
}
