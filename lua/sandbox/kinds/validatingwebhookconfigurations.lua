-- ValidatingWebhookConfigurations: webhooks that only say yes or no (webhooks.lua).

return require("sandbox.kinds.webhooks").make("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", false)
