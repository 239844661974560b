//! Route 53: the server's records.

use aws_sdk_route53::Client;
use aws_sdk_route53::error::ProvideErrorMetadata;
use aws_sdk_route53::types::{Change as Sdk, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};

use crate::aws::{Aws, in_words};
use crate::deadline::Deadline;
use mc_launcher_core::settings::DnsRecord;
use mc_launcher_core::warden::record::{Change, TTL_SECONDS};

/// Carries out `changes` to the records of one name, all or none.
///
/// # Errors
/// Route 53 does not, with the reason.
pub async fn change(aws: &Aws, record: &DnsRecord, changes: &[Change], deadline: Deadline) -> Result<(), String> {
    let client = Client::new(aws.config().await);
    let batch = changes.iter().map(|change| sdk(record, change)).collect::<Result<Vec<_>, _>>();
    let batch = batch.and_then(|changes| ChangeBatch::builder().set_changes(Some(changes)).build());
    let batch = batch.map_err(|error| format!("cannot put the records of {} into words: {error}", record.name))?;
    let call = client.change_resource_record_sets().hosted_zone_id(&record.zone_id).change_batch(batch);
    let removes_only = changes.iter().all(|change| matches!(change, Change::Remove(_)));
    let allow = format!("route53:ChangeResourceRecordSets on {}", record.name);
    match deadline.limit("Route 53", call.send()).await? {
        // Removed already: by a request whose answer got lost, for example.
        Err(error) if removes_only && is_not_found(&error) => Ok(()),
        answer => answer.map(drop).map_err(|error| in_words("Route 53", &allow, &error)),
    }
}

/// Whether Route 53 has nothing of what was to be removed (ChangeResourceRecordSets, Route 53 API reference).
fn is_not_found(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("InvalidChangeBatch") && error.message().is_some_and(|message| message.contains("not found"))
}

fn sdk(record: &DnsRecord, change: &Change) -> Result<Sdk, aws_sdk_route53::error::BuildError> {
    let (action, address) = match change {
        Change::Set(address) => (ChangeAction::Upsert, address),
        Change::Remove(address) => (ChangeAction::Delete, address),
    };
    let kind = if address.is_ipv4() { RrType::A } else { RrType::Aaaa };
    let value = ResourceRecord::builder().value(address.to_string()).build()?;
    let set = ResourceRecordSet::builder()
        .name(&record.name)
        .r#type(kind)
        .ttl(TTL_SECONDS)
        .resource_records(value)
        .build()?;
    Sdk::builder().action(action).resource_record_set(set).build()
}
