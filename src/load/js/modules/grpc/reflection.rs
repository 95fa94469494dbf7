//! Reflection (`grpc.reflection.v1`, else `v1alpha`, which has the same messages) and health.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use prost::Message;
use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::schema::Schema;
use crate::load::client::grpc::{Call, Channel, Code, End, Metadata, Status};

/// Descriptor files of one server.
const FILES_MAX: usize = 10_000;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(oneof = "Question", tags = "3, 4, 7")]
    question: Option<Question>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Question {
    #[prost(string, tag = "3")]
    FileByName(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
    #[prost(string, tag = "7")]
    ListServices(String),
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
    #[prost(message, optional, tag = "7")]
    error: Option<ErrorAnswer>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorAnswer {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The path of the health service's only unary method.
pub(super) const HEALTH: &str = "/grpc.health.v1.Health/Check";

pub(super) fn health_request(service: &str) -> Bytes {
    let request = HealthRequest {
        service: service.to_owned(),
    };
    request.encode_to_vec().into()
}

/// The number of a `ServingStatus`.
pub(super) fn health_status(bytes: &[u8]) -> Option<i32> {
    HealthResponse::decode(bytes).ok().map(|read| read.status)
}

/// All services that the server tells of.
pub(super) async fn reflect(channel: &Channel, metadata: &Metadata) -> Result<Schema, String> {
    let files = match files_of(channel, metadata, "v1").await {
        Err(status) if status.code == Code::UNIMPLEMENTED => {
            files_of(channel, metadata, "v1alpha").await
        }
        other => other,
    };
    let set = files.map_err(|status| format!("can't list services: {status}"))?;
    Schema::of_set(set).map_err(|error| format!("can't convert method info: {error}"))
}

async fn files_of(
    channel: &Channel,
    metadata: &Metadata,
    version: &str,
) -> Result<FileDescriptorSet, Status> {
    let call = Call {
        path: format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"),
        metadata: metadata.clone(),
        timeout: None,
    };
    let (mut sender, mut receiver) = channel.begin(&call).await?;
    let mut ask = async |question: Question| {
        let request = Request {
            host: String::new(),
            question: Some(question),
        };
        sender.send(request.encode_to_vec().into(), End::No).await?;
        let Some(bytes) = receiver.next().await? else {
            return Err(Status::new(Code::UNKNOWN, "the reflection stream ended"));
        };
        let response = Response::decode(bytes)
            .map_err(|error| Status::new(Code::INTERNAL, error.to_string()))?;
        match response.error {
            Some(error) => Err(Status::new(Code(error.code as u32), error.message)),
            None => Ok(response),
        }
    };
    let listed = ask(Question::ListServices("*".to_owned())).await?;
    let services = listed.services.unwrap_or_default().services;
    let mut questions: VecDeque<Question> = services
        .into_iter()
        .map(|service| Question::FileContainingSymbol(service.name))
        .collect();
    let mut seen = HashSet::new();
    let mut asked = HashSet::new();
    let mut set = FileDescriptorSet::default();
    while let Some(question) = questions.pop_front() {
        if let Question::FileByName(name) = &question
            && (seen.contains(name) || !asked.insert(name.clone()))
        {
            continue;
        }
        let response = match ask(question.clone()).await {
            Ok(response) => response,
            // Files that a server has not linked in are often not needed.
            Err(_) if matches!(question, Question::FileByName(_)) => continue,
            Err(status) => return Err(status),
        };
        for bytes in response.files.unwrap_or_default().files {
            let file = FileDescriptorProto::decode(&*bytes)
                .map_err(|error| Status::new(Code::INTERNAL, error.to_string()))?;
            if !seen.insert(file.name().to_owned()) {
                continue;
            }
            if set.file.len() >= FILES_MAX {
                let text = format!("the server has more than {FILES_MAX} descriptor files");
                return Err(Status::new(Code::RESOURCE_EXHAUSTED, text));
            }
            questions.extend(file.dependency.iter().cloned().map(Question::FileByName));
            set.file.push(file);
        }
    }
    Ok(set)
}
