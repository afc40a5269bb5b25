from django.urls import URLPattern, URLResolver, path

from webhooks import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/webhooks", views.Webhooks.as_view(), name="webhooks"),
    path("api/webhooks/<int:webhook_id>", views.OneWebhook.as_view(), name="webhook"),
]
