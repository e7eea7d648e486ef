//! Uses the client that openapi-generator made for Rust. Arguments: URL, key, ids of a completed and a failed track.
use generated_client::apis::{configuration, jobs_api, separations_api, Error};
use generated_client::models::{job, separation, separation_request};
use generated_client::models::{FailureCode, Job, Separation, SeparationRequest, Stem};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [url, key, completed, failed] = given.as_slice() else { panic!("four arguments") };
    let mut client = configuration::Configuration::new();
    client.base_path = url.clone();
    client.api_key = Some(configuration::ApiKey { prefix: None, key: key.clone() });

    let mut request = SeparationRequest::new();
    request.search_query = Some(Some("by openapi-generator rust".into()));
    request.format = Some(separation_request::Format::Flac);
    request.stems = Some(Some(vec![Stem::Vocals]));
    let asked = ask(&client, request).await.unwrap();
    assert_eq!(asked.status, separation::Status::Processing);
    let mut request = SeparationRequest::new();
    request.search_query = Some(Some("a completed song".into()));
    let again = ask(&client, request).await.unwrap();
    assert_eq!((again.status, &again.track_id), (separation::Status::Completed, completed));
    assert!(again.result.unwrap().vocals_url.unwrap().starts_with("http"));
    let found = state(&client, &asked.track_id).await.unwrap();
    assert_eq!(found.status, job::Status::Processing);
    let found = state(&client, completed).await.unwrap();
    assert!(found.result.unwrap().instrumental_url.unwrap().starts_with("http"));
    let ended = state(&client, failed).await.unwrap();
    assert_eq!((ended.status, ended.code), (job::Status::Failed, Some(FailureCode::SourceNotFound)));
    let listing = jobs_api::ListJobsParams {
        status: Some("completed".into()),
        limit: Some(200),
        phase: None,
        text: None,
        metadata: None,
        batch: None,
        since: None,
        created_after: None,
        created_before: None,
        all: None,
        cursor: None,
    };
    let listed = jobs_api::list_jobs(&client, listing).await.unwrap();
    assert!(listed.jobs.iter().any(|one| one.track_id == *completed));
    match state(&client, "00000000-0000-5000-8000-000000000000").await {
        Err(Error::ResponseError(answer)) => {
            assert_eq!(answer.status.as_u16(), 404);
            assert!(answer.content.contains("TRACK_NOT_FOUND"));
        }
        other => panic!("{other:?}"),
    }
    print!("{}", asked.track_id);
}

async fn ask(
    client: &configuration::Configuration,
    separation_request: SeparationRequest,
) -> Result<Separation, Error<separations_api::CreateSeparationError>> {
    let parameters = separations_api::CreateSeparationParams { separation_request, idempotency_key: None };
    separations_api::create_separation(client, parameters).await
}

async fn state(client: &configuration::Configuration, track: &str) -> Result<Job, Error<jobs_api::GetJobError>> {
    jobs_api::get_job(client, jobs_api::GetJobParams { track_id: track.into() }).await
}
