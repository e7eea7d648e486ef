import java.util.List;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.JobsApi;
import org.openapitools.client.api.JobsApi.APIGetJobRequest;
import org.openapitools.client.api.JobsApi.APIListJobsRequest;
import org.openapitools.client.api.SeparationsApi;
import org.openapitools.client.api.SeparationsApi.APICreateSeparationRequest;
import org.openapitools.client.model.FailureCode;
import org.openapitools.client.model.Job;
import org.openapitools.client.model.Separation;
import org.openapitools.client.model.SeparationRequest;
import org.openapitools.client.model.Stem;

/** Uses the client that openapi-generator made for Java. Arguments: URL, key, ids of a completed and a failed track. */
public class Main {
    public static void main(String[] arguments) throws ApiException {
        String completed = arguments[2], failed = arguments[3];
        ApiClient client = new ApiClient();
        client.updateBaseUri(arguments[0]);
        client.setRequestInterceptor(request -> request.header("X-API-Key", arguments[1]));
        SeparationsApi separations = new SeparationsApi(client);
        JobsApi jobs = new JobsApi(client);

        SeparationRequest request = new SeparationRequest().searchQuery("by openapi-generator java");
        request.format(SeparationRequest.FormatEnum.FLAC).stems(List.of(Stem.VOCALS));
        Separation asked = ask(separations, request);
        holds(asked.getStatus() == Separation.StatusEnum.PROCESSING, asked);
        Separation again = ask(separations, new SeparationRequest().searchQuery("a completed song"));
        holds(again.getStatus() == Separation.StatusEnum.COMPLETED && completed.equals(again.getTrackId()), again);
        holds(again.getResult().getVocalsUrl().startsWith("http"), again);
        holds(state(jobs, asked.getTrackId()).getStatus() == Job.StatusEnum.PROCESSING, asked);
        holds(state(jobs, completed).getResult().getInstrumentalUrl().startsWith("http"), completed);
        Job ended = state(jobs, failed);
        holds(ended.getStatus() == Job.StatusEnum.FAILED && ended.getCode() == FailureCode.SOURCE_NOT_FOUND, ended);
        String track = asked.getTrackId();
        APIListJobsRequest listing = APIListJobsRequest.newBuilder().limit(200).build();
        boolean listed = jobs.listJobs(listing).getJobs().stream().anyMatch(job -> completed.equals(job.getTrackId()));
        holds(listed, track);
        try {
            state(jobs, "00000000-0000-5000-8000-000000000000");
            throw new AssertionError("an unknown track was found");
        } catch (ApiException error) {
            holds(error.getCode() == 404 && error.getResponseBody().contains("TRACK_NOT_FOUND"), error);
        }
        System.out.print(track);
    }

    private static Separation ask(SeparationsApi separations, SeparationRequest request) throws ApiException {
        return separations.createSeparation(APICreateSeparationRequest.newBuilder().separationRequest(request).build());
    }

    private static Job state(JobsApi jobs, String track) throws ApiException {
        return jobs.getJob(APIGetJobRequest.newBuilder().trackId(track).build());
    }

    private static void holds(boolean condition, Object what) {
        if (!condition) throw new AssertionError(what);
    }
}
