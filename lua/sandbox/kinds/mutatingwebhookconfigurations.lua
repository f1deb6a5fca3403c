-- MutatingWebhookConfigurations: webhooks that may change what they see (webhooks.lua).

return require("sandbox.kinds.webhooks").make("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", true)
