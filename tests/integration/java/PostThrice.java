import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Sends one booking three times with the client that every JDK has, as it is by default, and prints what came back. */
class PostThrice {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", arguments[1])
            .POST(BodyPublishers.ofString(arguments[2]))
            .build();
        for (int i = 0; i < 3; i++) {
            var response = client.send(request, BodyHandlers.ofString());
            var replayed = response.headers().firstValue("Idempotent-Replayed").orElse("false");
            System.out.println(response.statusCode() + " " + replayed + " " + response.body());
        }
    }
}
