import com.hivemq.embedded.EmbeddedExtension;
import com.hivemq.embedded.EmbeddedHiveMQ;
import com.hivemq.extension.sdk.api.ExtensionMain;
import com.hivemq.extension.sdk.api.auth.SimpleAuthenticator;
import com.hivemq.extension.sdk.api.parameter.*;
import com.hivemq.extension.sdk.api.services.Services;
import java.nio.file.Path;

public class Server {
    public static void main(String[] folders) {
        EmbeddedExtension open = EmbeddedExtension.builder().withId("open").withName("open").withVersion("1").withPriority(0).withStartPriority(1000).withAuthor("launcher")
            .withExtensionMain(new ExtensionMain() {
                public void extensionStart(ExtensionStartInput in, ExtensionStartOutput out) {
                    SimpleAuthenticator everybody = (given, answer) -> answer.authenticateSuccessfully();
                    Services.securityRegistry().setAuthenticatorProvider(provided -> everybody);
                }
                public void extensionStop(ExtensionStopInput in, ExtensionStopOutput out) {}
            }).build();
        EmbeddedHiveMQ.builder().withConfigurationFolder(Path.of(folders[0])).withDataFolder(Path.of(folders[1])).withExtensionsFolder(Path.of(folders[2]))
            .withEmbeddedExtension(open).build().start().join();
    }
}
