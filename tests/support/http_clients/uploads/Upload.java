import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** PUTs a file to an upload link in several ways. Arguments: way=link; prints a line "way status" for each. */
public class Upload {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();
    private static final byte[] FILE = "ID3 12345".getBytes(StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        for (String argument : arguments) {
            int at = argument.indexOf('=');
            String way = argument.substring(0, at);
            System.out.println(way + " " + put(way, URI.create(argument.substring(at + 1))));
        }
    }

    private static String put(String way, URI link) throws Exception {
        BodyPublisher file = way.equals("stream")
            ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(FILE)) // of unknown length, so in chunks
            : BodyPublishers.ofByteArray(FILE); // sets Content-Length, as does ofFile
        HttpRequest.Builder request = HttpRequest.newBuilder(link).PUT(file).timeout(Duration.ofSeconds(5))
            .header("Content-Type", way.equals("charset") ? "audio/mpeg; charset=utf-8" : "audio/mpeg")
            .header("Content-Disposition", "attachment").header("If-None-Match", "*")
            .expectContinue(way.equals("expect"));
        if (way.equals("length")) {
            try {
                request.header("Content-Length", String.valueOf(FILE.length));
            } catch (IllegalArgumentException restricted) {
                return "restricted";
            }
        }
        try {
            return String.valueOf(CLIENT.send(request.build(), BodyHandlers.discarding()).statusCode());
        } catch (HttpTimeoutException late) {
            return "timeout";
        }
    }
}
