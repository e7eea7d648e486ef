import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Uploads a file, requests its separation, and follows it. Arguments: base URL and API key. */
public class Client {
    private static final HttpClient CLIENT = HttpClient.newHttpClient(); // offers h2c, as by default
    private static String base;
    private static String key;

    public static void main(String[] arguments) throws Exception {
        base = arguments[0];
        key = arguments[1];
        byte[] file = "ID3 of Java".getBytes(StandardCharsets.UTF_8);
        String slot = post("/uploads", "{\"filename\":\"song.mp3\",\"content_type\":\"audio/mpeg\",\"size\":" + file.length + "}", 200);
        HttpRequest put = HttpRequest.newBuilder(URI.create(field("url", slot)))
            .header("Content-Type", "audio/mpeg").header("Content-Disposition", "attachment").header("If-None-Match", "*")
            .PUT(BodyPublishers.ofByteArray(file)).build();
        expect(200, CLIENT.send(put, BodyHandlers.ofString()));
        String track = field("track_id", post("/separate-audio", "{\"upload_id\":\"" + field("upload_id", slot) + "\"}", 202));
        HttpRequest get = HttpRequest.newBuilder(URI.create(base + "/job/" + track)).header("X-API-Key", key).build();
        expect(200, CLIENT.send(get, BodyHandlers.ofString()));
        HttpRequest events = HttpRequest.newBuilder(URI.create(base + "/job/" + track + "/events")).header("X-API-Key", key).build();
        CLIENT.send(events, BodyHandlers.ofLines()).body().filter("event: snapshot"::equals).findFirst().orElseThrow();
        System.out.println(track);
        System.exit(0); // the stream is still open
    }

    private static String post(String path, String body, int status) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + path)).header("X-API-Key", key)
            .header("Content-Type", "application/json").POST(BodyPublishers.ofString(body)).build();
        return expect(status, CLIENT.send(request, BodyHandlers.ofString()));
    }

    private static String expect(int status, HttpResponse<String> response) {
        if (response.statusCode() != status) {
            throw new IllegalStateException(response.statusCode() + ": " + response.body());
        }
        return response.body();
    }

    private static String field(String name, String json) {
        Matcher matcher = Pattern.compile('"' + name + "\": ?\"([^\"]*)\"").matcher(json);
        if (!matcher.find()) {
            throw new IllegalStateException(name + " is not in " + json);
        }
        return matcher.group(1);
    }
}
