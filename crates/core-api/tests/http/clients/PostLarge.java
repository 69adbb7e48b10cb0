import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Arrays;

/** Posts five megabytes in each of these ways, and prints what comes back. */
class PostLarge {
    public static void main(String[] arguments) throws Exception {
        var body = new byte[5_000_000];
        Arrays.fill(body, (byte) 'x');
        var client = HttpClient.newHttpClient();
        for (int round = 0; round < Integer.parseInt(arguments[1]); round++) {
            for (var one : Arrays.asList(arguments).subList(2, arguments.length)) {
                var parts = one.split(" ");
                var request = HttpRequest.newBuilder(URI.create(arguments[0] + parts[0]))
                        .header("Content-Type", parts[2])
                        .POST(HttpRequest.BodyPublishers.ofByteArray(body));
                if (!parts[1].isEmpty()) {
                    request.header("Idempotency-Key", parts[1]);
                }
                try {
                    var response = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
                    var code = response.body().replaceAll("(?s).*\"code\":\"([^\"]*)\".*", "$1");
                    System.out.println(response.statusCode() + " " + code);
                } catch (java.io.IOException error) {
                    System.out.println(error);
                }
            }
        }
        System.exit(0);
    }
}
